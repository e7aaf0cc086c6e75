"""Dead letters: signals that failed, kept for a person to look at (E4).

A letter is a row of its own, so that a failed signal costs one put, whatever its size. Which letters an entity has is
said by its record, in memory as on disk: :attr:`EntityCell.letters`. That list alone decides whether a letter is still
there, so that redriving one twice, or again after a crash, delivers its signal once: the letter leaves the list and the
signal enters the queue in the same batch.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from ..entities.failures import one_line
from ..storage import keys, tables
from ..storage.errors import DamagedRecord
from . import limits
from .records import LetterRecord, encode

if TYPE_CHECKING:
    from ..entities.messages import Letter
    from .batch import OpenBatch
    from .cells import EntityCell

_log = logging.getLogger(__name__)


def keep_letter(cell: EntityCell, letter: Letter, now: int, batch: OpenBatch) -> None:
    """Keep a failed signal with the open batch; of very many the newest are kept.

    Args:
      cell: the entity, which the batch will write.
      letter: the signal, and how it failed.
      now: microseconds since 1970.
      batch: the open batch.
    """
    entity_id = cell.machine.entity_id
    failure = one_line(letter.failure)
    _log.warning("signal %r to %s failed and is kept as a dead letter: %s", letter.message.name, one_line(entity_id), failure)
    rows = batch.writes[tables.LETTERS]
    record = LetterRecord(entity_id.name, entity_id.key, letter.message, letter.failure, now)
    rows[cell.prefix + keys.u64(cell.letter_next)] = encode(record)
    kept = (*cell.letters, cell.letter_next)
    if len(kept) > limits.LETTERS_MAX:
        rows[cell.prefix + keys.u64(kept[0])] = None
        kept = kept[1:]
    cell.letters = kept
    cell.letter_next += 1


def remove_letter(cell: EntityCell, key: bytes, batch: OpenBatch) -> bool:
    """Remove a letter with the open batch; false if it is gone already.

    Args:
      cell: the entity that it was for; the caller has the batch write it.
      key: the letter's row.
      batch: the open batch.

    Raises:
      DamagedRecord: the entity's record is damaged, so nobody knows which letters it has (D9).
    """
    if cell.damaged:
        raise DamagedRecord(tables.INSTANCES, cell.prefix)
    number = keys.read_u64(key, 8)
    if key[:8] != cell.prefix or number not in cell.letters:
        return False
    cell.letters = tuple(each for each in cell.letters if each != number)
    batch.writes[tables.LETTERS][key] = None
    return True
