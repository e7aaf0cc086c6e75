"""The real thing: a process under load is killed with SIGKILL, again and again, on one folder (D1, D3, D5, D8, E2, L5, O5).

Nothing acknowledged may be lost, nothing doubled, no money made, no lock left, and every orchestration that was started
ends. Each child begins while the work that the one before left is being taken up, so recovery is killed as well.
"""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
import trio
from attrs import define, field
from perdure.hub import TaskHub
from perdure.hub.payloads import decode_head
from perdure.orchestration import InstanceNotFound, RuntimeStatus
from perdure.orchestration.status import OrchestrationRecord
from perdure.storage import tables
from perdure.storage.lmdb_reader import LmdbReader
from perdure.storage.lmdb_store import LmdbStore

from ..hub import disk
from . import bank_child
from .bank_child import ACCOUNTS, DEFINITIONS, FUNDS, LEDGERS, Account, Ledger

KILLS = 30
ACKNOWLEDGED_MAX = 60
"""A child lives until so many of its requests were acknowledged, at most."""

DIE_WHILE_OPENING = 0.2
"""How likely a child is killed while it opens its hub."""

PATIENCE_SECONDS = 60.0
"""A child that does not get so far in this time hangs."""

NUMBERS_EACH = 100_000
"""Numbers that one child may use."""

NOTED = ("signal", "call", "slow", "errand", "batch")
"""Kinds of requests whose number a ledger notes once."""

INSTANCES = {"transfer": "t", "errand": "e", "batch": "b"}
"""Kinds of requests that start an instance, and how its id begins."""


@define
class Acknowledged:
    """What the children were told.

    Attributes:
      numbers: by kind.
      opened: how many children got as far as opening the hub.
    """

    numbers: dict[str, list[int]] = field(factory=dict[str, list[int]])
    opened: int = 0

    @classmethod
    def read(cls, path: Path) -> Acknowledged:
        """Read the file; a last line that was cut off in the middle was not written yet."""
        found = cls()
        for line in path.read_text().split("\n")[:-1]:
            kind, number = line.split()
            if kind == "open":
                found.opened += 1
            else:
                found.numbers.setdefault(kind, []).append(int(number))
        return found


def run_child(folder: Path, acknowledgements: Path, first: int, seed: int, chance: random.Random) -> None:
    """Run a child until it was told that some of its requests are done, and kill it; or kill it while it opens its hub."""
    wanted = _lines(acknowledgements) + 1 + int(chance.random() ** 2 * ACKNOWLEDGED_MAX)
    data = folder / "bank" / "data.mdb"
    dies_while_opening = data.exists() and chance.random() < DIE_WHILE_OPENING
    child = subprocess.Popen(
        [sys.executable, bank_child.__file__, str(folder), str(acknowledgements), str(first), str(seed)],
        stderr=subprocess.PIPE,
    )
    try:
        begun = time.monotonic()
        opening = chance.random() * 0.4
        while _lines(acknowledgements) < wanted and child.poll() is None:
            if dies_while_opening and time.monotonic() - begun > opening:
                break
            assert time.monotonic() - begun < PATIENCE_SECONDS, "the child does nothing any more"
            time.sleep(0.001)
        assert child.poll() is None, child.communicate()[1].decode()
    finally:
        child.send_signal(signal.SIGKILL)
        child.communicate()


def _lines(acknowledgements: Path) -> int:
    return acknowledgements.read_bytes().count(b"\n") if acknowledgements.exists() else 0


def cheap_check(folder: Path, told: Acknowledged) -> None:
    """Look at what is on disk without changing anything: tables fit, and acknowledged starts are there."""
    store = LmdbReader(folder / "bank")
    store.open()
    try:
        rows: disk.Rows = {}
        for table in tables.TABLES:
            rows[table] = dict(store.scan(table, limit=1_000_000))
        for kind, prefix in INSTANCES.items():
            for number in told.numbers.get(kind, []):
                assert b"o" + f"{prefix}-{number}".encode() in rows[tables.DIRECTORY], f"{kind} {number} is lost"
        disk.check(rows)
    finally:
        store.close()


async def full_check(folder: Path, told: Acknowledged) -> None:
    """Let everything end, then count."""
    async with TaskHub("Bank", DEFINITIONS, folder) as hub:
        with trio.fail_after(60):
            await hub.wait_idle()
        balances = [await hub.read_entity(Account.at(str(number))) for number in range(ACCOUNTS)]
        assert sum(account.balance for account in balances if account is not None) == ACCOUNTS * FUNDS
        for number in range(ACCOUNTS):
            described = await hub.describe(Account.at(str(number)))
            assert (described.locked_by, described.waiting, described.queued) == (None, (), ())
        noted: Counter[int] = Counter()
        for number in range(LEDGERS):
            ledger = await hub.read_entity(Ledger.at(str(number)))
            noted.update([] if ledger is None else ledger.numbers)
        await _check_notes(hub, noted, told)
        await _check_instances(hub, told)


async def _check_notes(hub: TaskHub, noted: Counter[int], told: Acknowledged) -> None:
    batched = told.numbers.get("batch", [])
    for kind in NOTED:
        for number in told.numbers.get(kind, []):
            expected = 2 if kind == "batch" else 1  # a batch has a signal, and an errand that signals
            assert noted[number] == expected, f"{kind} {number} was noted {noted[number]} times"
    doubled = {number for number, count in noted.items() if count > 1} - set(batched)
    for number in doubled:
        await hub.instance(f"b-{number}").status()  # a batch that was accepted but not told any more
        assert noted[number] == 2
    for number in told.numbers.get("call", []):
        assert await hub.call_entity(bank_child.ledger(number), Ledger.note, number, request_id=f"r-{number}") == number
        ledger = await hub.read_entity(bank_child.ledger(number))
        assert ledger is not None
        assert ledger.numbers.count(number) == 1


async def _check_instances(hub: TaskHub, told: Acknowledged) -> None:
    for kind, prefix in INSTANCES.items():
        for number in told.numbers.get(kind, []):
            instance = hub.instance(f"{prefix}-{number}")
            try:
                status = await instance.status()
            except InstanceNotFound:
                pytest.fail(f"{kind} {number} was acknowledged and is lost")
            assert status.runtime_status is RuntimeStatus.COMPLETED, f"{instance}: {status.failure}"
            stamps = [status.output] if kind == "transfer" else status.output
            assert all(stamp.startswith(f"{number} ") for stamp in stamps)


def everything_ended(folder: Path) -> None:
    """No message, activity or unfinished instance is left on disk."""
    store = LmdbStore(folder / "bank")
    store.open()
    try:
        assert store.keys(tables.INBOX) == []
        assert store.keys(tables.ACTIVITIES) == []
        for _, data in store.scan(tables.INSTANCES, limit=1_000_000):
            record = decode_head(data)
            if isinstance(record, OrchestrationRecord):
                assert record.status.final, f"{record.instance_id} is {record.status}"
    finally:
        store.close()


def test_kill_nine_again_and_again(tmp_path: Path) -> None:
    """After each of many kills on one folder the disk is sound, and at the end everything acknowledged is there once."""
    seed = random.SystemRandom().randrange(1 << 32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    acknowledgements = tmp_path / "acknowledged"
    folder = tmp_path / "hubs"
    for kill in range(KILLS):
        run_child(folder, acknowledgements, kill * NUMBERS_EACH, chance.randrange(1 << 32), chance)
        told = Acknowledged.read(acknowledgements) if acknowledgements.exists() else Acknowledged()
        if (folder / "bank").exists():
            cheap_check(folder, told)
    told = Acknowledged.read(acknowledgements)
    trio.run(full_check, folder, told)
    everything_ended(folder)
    assert told.opened >= KILLS // 2
    assert sum(map(len, told.numbers.values())) > 2 * KILLS, "the children were killed before they did anything"
    assert told.numbers.keys() >= {"signal", "call", "slow", "transfer", "errand", "batch"}
