"""A golden history: what a shape left in the store of a hub, as a file that a person can read.

A file is JSON with one line for each entry: an array of the entry's tag and its fields, as msgspec writes it. Reading one
is reading a journal of the version that wrote it: tags and the order of fields are those of the stored format.
"""

from __future__ import annotations

from pathlib import Path

import msgspec
from perdure.orchestration.history import HistoryEntry

FOLDER = Path(__file__).parent


class Recorded(msgspec.Struct, frozen=True):
    """The journal of one instance.

    Attributes:
      id: the instance.
      entries: all of its last execution.
    """

    id: str
    entries: list[HistoryEntry]


class Golden(msgspec.Struct, frozen=True):
    """A file.

    Attributes:
      shape: the scenario that was run.
      written_by: the version of Perdure that ran it.
      instances: its instances.
    """

    shape: str
    written_by: str
    instances: list[Recorded]

    def __str__(self) -> str:
        return f"{self.written_by}/{self.shape}"


def read(path: Path) -> Golden:
    """A file.

    Raises:
      msgspec.ValidationError: an entry is none that this version knows.
    """
    return msgspec.json.decode(path.read_bytes(), type=Golden)


def text_of(golden: Golden) -> str:
    """What to write into a file."""
    instances = ",\n".join(
        f'  {{"id": {_json(each.id)}, "entries": [\n' + ",\n".join(f"    {_json(entry)}" for entry in each.entries) + "\n  ]}"
        for each in golden.instances
    )
    head = f'"shape": {_json(golden.shape)}, "written_by": {_json(golden.written_by)}'
    return f'{{{head}, "instances": [\n{instances}\n]}}\n'


def all_of_them() -> list[Golden]:
    """Every golden history."""
    return [read(path) for path in sorted(FOLDER.glob("*/*.json"))]


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()
