"""Single bits that flip in a hub's data file: what notices them.

    python -m tests.crash.bit_flips [flips] [seed]

A hub with some hundred entities and orchestrations is left in order. Then, again and again, one random bit of a copy of its data
file is flipped, the copy is opened as a hub is, and every record that was there is read, one by one and by scanning. Beside that,
`check` looks at another such copy. Each flip is one of these:

- harmless: every record reads as it was, and check finds nothing;
- noticed by the reads: opening or reading raised, or ended the process, as LMDB does on a page that is none;
- noticed by check alone: a record was not found, or the flip hit something that no read looks at.

What must never be: a value that differs from what was written, or something missing that neither reports.

The work is done by a child, which the parent starts again after a flip that ended it.
"""

from __future__ import annotations

import json
import random
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

import trio
from perdure.hub.checkup import check_here
from perdure.storage import tables
from perdure.storage.errors import PerdureError
from perdure.storage.lmdb_backup import compact
from perdure.storage.lmdb_store import LmdbStore

from ..hub.helpers import Account, FakeClock, Ledger, bank, receive

Rows = dict[str, dict[bytes, bytes]]


async def _populate(place: Path, size: int) -> None:
    async with bank(place, clock=FakeClock()) as hub:
        async with hub.batch() as batch:
            for number in range(size):
                batch.signal_entity(Account.at(f"account {number}"), Account.deposit, number)
                batch.start(receive, instance_id=f"waits {number}")
        for number in range(size // 10):
            await hub.call_entity(Ledger.at(f"{number}"), Ledger.note, number, request_id=f"request {number}")
        async with hub.batch() as batch:
            for number in range(5000):
                batch.signal_entity(Ledger.at("large"), Ledger.note, number)
            for number in range(0, size, 3):
                batch.raise_event(f"waits {number}", "go", number)
        await hub.wait_idle()
        await hub.purge()
        hub.pause()
        async with hub.batch() as batch:
            for number in range(size // 4):
                batch.signal_entity(Account.at(f"account {number}"), Account.deposit, 1)


def populated(place: Path, size: int = 150) -> Path:
    """A hub with something in most tables, left in order; its file has no free pages, which a flip would hit without harm."""
    trio.run(_populate, place, size)
    compact(place / "bank")
    return place / "bank"


def rows_of(hub: Path) -> Rows:
    """Every record of a hub, read both ways."""
    store = LmdbStore(hub)
    store.open()
    try:
        rows = {table: dict(store.scan(table, limit=1_000_000)) for table in tables.TABLES}
        rows[tables.META].pop(b"commit")  # every opening writes it
        for table, found in rows.items():
            for key, value in found.items():
                assert store.get(table, key) == value
        return rows
    finally:
        store.close()


def flipped(hub: Path, place: Path, bit: int) -> Path:
    """A copy of a hub with one bit of its data file flipped."""
    shutil.copytree(hub, place, ignore=shutil.ignore_patterns("lock.mdb"))
    with (place / "data.mdb").open("r+b") as file:
        file.seek(bit // 8)
        (byte,) = file.read(1)
        file.seek(bit // 8)
        file.write(bytes((byte ^ 1 << bit % 8,)))
    return place


def by_reads(hub: Path, rows: Rows) -> str:
    """What opening a hub and reading all that was there comes to."""
    store = LmdbStore(hub)
    outcomes: set[str] = set()
    try:
        store.open()
    except PerdureError:
        return "noticed"
    try:
        for table, expected in rows.items():
            for key, value in expected.items():
                outcomes.add(_read(lambda t=table, k=key: store.get(t, k), value))
            outcomes.add(_read(lambda t=table: _without_commit(store.scan(t, limit=1_000_000)), expected))
    finally:
        store.close()
    return next(outcome for outcome in ("CHANGED", "noticed", "missing", "same") if outcome in outcomes)


def _without_commit(found: list[tuple[bytes, bytes]]) -> dict[bytes, bytes]:
    return {key: value for key, value in found if key != b"commit"}


def _read(read: object, expected: bytes | dict[bytes, bytes]) -> str:
    try:
        found = read()  # type: ignore[operator]
    except PerdureError:
        return "noticed"
    if found == expected:
        return "same"
    if isinstance(found, dict) and isinstance(expected, dict):
        return "missing" if all(expected.get(key) == value for key, value in found.items()) else "CHANGED"
    return "missing" if found is None else "CHANGED"


def by_check(hub: Path) -> str:
    """What `check` says."""
    try:
        return "same" if check_here(hub).sound else "noticed"
    except PerdureError:
        return "noticed"


def child(hub: Path, bits: list[int]) -> None:
    """Try some bits, one after another, and print what each came to."""
    with tempfile.TemporaryDirectory(dir=hub.parent) as scratch:
        rows = rows_of(Path(shutil.copytree(hub, Path(scratch) / "sound", ignore=shutil.ignore_patterns("lock.mdb"))))
        for bit in bits:
            said: dict[str, str] = {}
            for who, deed in (("check", by_check), ("reads", lambda place: by_reads(place, rows))):
                place = Path(scratch) / f"{who}-{bit}"
                said[who] = deed(flipped(hub, place, bit))
                print(json.dumps([bit, who, said[who]]), flush=True)
                shutil.rmtree(place)


def experiment(hub: Path, flips: int, seed: int) -> Counter[str]:
    """Flip so many bits, one at a time, and count what they came to."""
    bits = random.Random(seed).sample(range(8 * (hub / "data.mdb").stat().st_size), flips)
    said: dict[int, dict[str, str]] = {bit: {} for bit in bits}
    waiting = bits
    while waiting:
        command = [sys.executable, "-m", "tests.crash.bit_flips", "child", str(hub), *map(str, waiting)]
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=Path(__file__).parents[2])
        for line in done.stdout.splitlines():
            bit, who, what = json.loads(line)
            said[bit][who] = what
        waiting = [bit for bit in waiting if "reads" not in said[bit]]
        if waiting:  # the first of them has ended the child: check comes first, and must not
            assert done.returncode < 0, done.stderr
            said[waiting[0]]["reads"] = "died"
            waiting = waiting[1:]
    return Counter(_verdict(outcome.get("check", "DIED"), outcome["reads"]) for outcome in said.values())


def _verdict(check: str, reads: str) -> str:
    if check == "DIED" or reads == "CHANGED":
        return f"VIOLATION (check: {check}, reads: {reads})"
    if reads in ("noticed", "died"):
        return "noticed by the read that meets it" if reads == "noticed" else "ended the process that reads"
    if check == "noticed":
        return "noticed by check alone"
    return "harmless" if reads == "same" else "VIOLATION: missing, and nobody says so"


if __name__ == "__main__":
    if sys.argv[1:2] == ["child"]:
        child(Path(sys.argv[2]), [int(bit) for bit in sys.argv[3:]])
    else:
        with tempfile.TemporaryDirectory() as place:
            for verdict, count in experiment(
                populated(Path(place)), int((sys.argv[1:2] or ["400"])[0]), int((sys.argv[2:3] or ["1"])[0])
            ).most_common():
                print(f"{count:6d}  {verdict}")
