"""What happened in a run, line by line, and its digest: two runs with the same digest are the same run (29)."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from attrs import define, field

if TYPE_CHECKING:
    from ...storage.store import Batch


@define(eq=False)
class Trace:
    """A trace.

    Attributes:
      lines: what happened, in order.
      commits: how many batches became durable.
    """

    lines: list[str] = field(factory=list)
    commits: int = 0
    _digest: hashlib.blake2b = field(factory=lambda: hashlib.blake2b(digest_size=12))

    def note(self, line: str) -> None:
        """Something happened."""
        self.lines.append(line)
        self._digest.update(line.encode("utf-8", "surrogatepass"))

    def commit(self, batch: Batch) -> None:
        """A batch became durable; every byte of it counts."""
        self.commits += 1
        update, rows = self._digest.update, 0
        for table, changes in batch.writes.items():
            if changes:
                update(table.encode())
                for key in sorted(changes):
                    value = changes[key]
                    update(key)
                    update(b"-" if value is None else value)
                rows += len(changes)
        self.note(f"commit {batch.number}: {rows} rows")

    @property
    def digest(self) -> str:
        """The digest, in hex."""
        return self._digest.hexdigest()
