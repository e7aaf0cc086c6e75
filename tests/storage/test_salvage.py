"""What can be read of a damaged data file without LMDB."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from perdure.storage.batch_rules import STORE_KEYS
from perdure.storage.lmdb_salvage import Salvage
from perdure.storage.lmdb_store import LmdbStore
from perdure.storage.records import RecordSeal
from perdure.storage.tables import INBOX, INSTANCES, META, PAYLOADS

from .contract import Owner

PAGE = 4096
BRANCH, LEAF = 1, 2


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data file with small and large records, free pages, and versions of records that do not count any more."""
    folder = tmp_path_factory.mktemp("hubs") / "bank"
    rng = random.Random(5)
    owner = Owner.of(LmdbStore(folder))
    for turn in range(6):
        owner.commit(
            {
                INSTANCES: {b"%05d" % n: b"%d/%d " % (n, turn) * 9 for n in range(900)},
                INBOX: {b"%05d" % rng.randrange(900): None for _ in range(50)}
                | {b"%05d" % (n * 7 + turn): b"m" for n in range(90)},
                PAYLOADS: {b"%02d" % n: rng.randbytes(9000 + 500 * n) for n in range(9)},
                META: {b"time": b"%d" % turn},
            }
        )
    owner.store.close()
    return folder / "data.mdb"


def rows_of(data: Path) -> dict[tuple[str, bytes], bytes]:
    """The records, by table and key, as LMDB reads them."""
    store = Owner.of(LmdbStore(data.parent)).store
    rows = {
        (table, key): RecordSeal(table).seal(key, value)
        for table in (INSTANCES, INBOX, PAYLOADS, META)
        for key, value in store.scan(table, limit=10_000)
        if table != META or key not in STORE_KEYS
    }
    store.close()
    return rows


def salvaged(data: Path) -> dict[tuple[str, bytes], bytes]:
    """The records, by table and key, as they are salvaged; the first of two with the same key counts."""
    rows: dict[tuple[str, bytes], bytes] = {}
    with Salvage(data) as salvage:
        for table, key, stored in salvage.rows():
            rows.setdefault((table, key), stored)
    return rows


def pages(content: bytes, kind: int) -> list[int]:
    """The offsets of the pages of a kind, free ones too."""
    return [at for at in range(2 * PAGE, len(content), PAGE) if int.from_bytes(content[at + 10 : at + 12], "little") == kind]


def test_of_a_sound_file_everything_is_read(data: Path) -> None:
    """Every record that counts is read, with its value of now, and none that was deleted or written over."""
    assert salvaged(data) == rows_of(data)


@pytest.mark.parametrize("kind", [BRANCH, LEAF])
def test_what_a_lost_page_led_to_is_found(data: Path, tmp_path: Path, kind: int) -> None:
    """Of a file with any one page lost, only what stood on that very page is missing, and nothing old comes back."""
    rows = rows_of(data)
    content = data.read_bytes()
    found = pages(content, kind)
    assert found
    for at in found:
        harmed = tmp_path / "data.mdb"
        harmed.write_bytes(content[:at] + bytes(PAGE) + content[at + PAGE :])
        read = salvaged(harmed)
        assert {row: stored for row, stored in read.items() if rows.get(row) != stored} == {}
        assert len(read) >= len(rows) - (0 if kind == BRANCH else 200)


@settings(max_examples=40)
@given(st.lists(st.tuples(st.integers(0, 1 << 40), st.binary(min_size=1, max_size=8)), min_size=1, max_size=30))
def test_nothing_wrong_is_read_of_any_damage(
    data: Path, tmp_path_factory: pytest.TempPathFactory, harms: list[tuple[int, bytes]]
) -> None:
    """Whatever bytes are damaged behind the meta pages, reading ends without an error, and only true records come out."""
    content = bytearray(data.read_bytes())
    for place, harm in harms:
        at = 2 * PAGE + place % (len(content) - 2 * PAGE - 8)
        content[at : at + len(harm)] = harm
    harmed = tmp_path_factory.mktemp("harmed") / "data.mdb"
    harmed.write_bytes(content)
    with Salvage(harmed) as salvage:
        for table, key, stored in salvage.rows():
            RecordSeal(table).unseal(key, stored)
