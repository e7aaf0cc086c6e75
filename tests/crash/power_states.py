"""Which states of the disk to look at: all where they are few, the telling ones and a sample where they are many.

Of each moment (:mod:`tests.crash.power_model`): nothing and everything that was under way; where at most
:data:`ALL_BELOW` pieces were, every subset of them; else every beginning (a cut while the disk wrote in order), each
piece alone and each one missing (a torn write is a beginning or a gap of its sectors), every beginning, gap and single
one of whole writes, and subsets by chance. Each for every beginning of the names that were given.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from typing import Final

from attrs import frozen

from .power_model import Moment, Piece, rebuild

ALL_BELOW: Final = 8


@frozen
class Cut:
    """A power cut.

    Attributes:
      moment: at which moment, counted from 0.
      pieces: which pieces have reached the disk, as the bits of a number.
      names: how many of the names have.
    """

    moment: int
    pieces: int
    names: int

    def __str__(self) -> str:
        """For people, and to be found again in the same recording."""
        return f"the cut at moment {self.moment} that leaves pieces {self.pieces:#x} and {self.names} names"

    def files(self, moment: Moment) -> dict[str, bytes]:
        """What it leaves."""
        kept = [piece for place, piece in enumerate(moment.pieces) if self.pieces >> place & 1]
        return rebuild(moment, kept, self.names)


def cuts(moments: Sequence[Moment], seed: int) -> Iterator[Cut]:
    """Cuts without end: the plain ones of all moments, then the telling ones, mixed, then any."""
    chance = random.Random(seed)
    plain: list[Cut] = []
    telling: list[Cut] = []
    for number, moment in enumerate(moments):
        everything = (1 << len(moment.pieces)) - 1
        for names in range(len(moment.namings) + 1):
            plain.extend(Cut(number, pieces, names) for pieces in (0, everything))
            telling.extend(Cut(number, pieces, names) for pieces in _telling(moment.pieces))
    yield from plain
    chance.shuffle(telling)
    yield from telling
    wide = [number for number, moment in enumerate(moments) if len(moment.pieces) > ALL_BELOW]
    while wide:
        number = chance.choice(wide)
        moment = moments[number]
        share = chance.random()
        pieces = sum(1 << place for place in range(len(moment.pieces)) if chance.random() < share)
        yield Cut(number, pieces, chance.randint(0, len(moment.namings)))


def _telling(pieces: Sequence[Piece]) -> Iterator[int]:
    count = len(pieces)
    if count <= ALL_BELOW:
        yield from range(1, (1 << count) - 1)
        return
    writes: dict[int, int] = {}
    for place, piece in enumerate(pieces):
        writes[piece.write] = writes.get(piece.write, 0) | 1 << place
    everything = (1 << count) - 1
    for groups in ([1 << place for place in range(count)], list(writes.values())):
        beginning = 0
        for group in groups:
            yield group
            yield everything & ~group
            beginning |= group
            yield beginning
