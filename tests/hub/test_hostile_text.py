"""What users and clients say may be meant to deceive whoever reads logs and reports: it stays on its line (RELIABILITY, "Security")."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
import trio.testing
from attrs import define
from hypothesis import given
from hypothesis import strategies as st
from perdure.entities import Entity
from perdure.entities.failures import one_line
from perdure.hub import TaskHub
from perdure.hub.checkup import check_here
from perdure.hub.records import IdleRecord, encode
from perdure.orchestration import OrchestrationContext, activity, orchestrator
from perdure.storage import tables
from perdure.storage.aes_gcm_codec import AesGcmCodec
from perdure.storage.lmdb_store import LmdbStore
from perdure.storage.memory_store import MemoryStore
from perdure.storage.store import Batch

HOSTILE = "a\nERROR perdure.hub: all is lost\x1b[2J\r\u2028\u202e\x9b1m"
SECRET = "the-number-of-the-card"


@define
class Victim(Entity):
    """Takes what clients say."""

    said: str = ""

    def say(self, text: str) -> str:
        """Keep it."""
        self.said = text
        return text

    def fail(self, text: str, secret: str) -> None:
        """Fail with what a client said."""
        raise ValueError(text)


@activity
async def failing(text: str) -> None:
    """Fail with what a client said."""
    raise ValueError(text)


@orchestrator
async def careless(ctx: OrchestrationContext, text: str) -> str:
    """Leave a failure unawaited."""
    ctx.call_activity(failing, text)
    await ctx.sleep(1)
    return SECRET


@given(st.text())
def test_any_text_is_one_line_of_printable_characters(text: str) -> None:
    """Whatever is said, it neither begins a line nor commands a terminal; what is harmless stays as it is."""
    line = one_line(text)
    assert line.isprintable()
    assert line == text or not text.isprintable()


async def test_nothing_that_is_said_begins_a_line_of_the_log(
    caplog: pytest.LogCaptureFixture, autojump_clock: trio.testing.MockClock
) -> None:
    """Keys of entities and texts of failures are escaped in each line that the hub logs."""
    caplog.set_level(logging.DEBUG, "perdure")
    store = MemoryStore()
    async with TaskHub("Hostile", [Victim, careless, failing], store) as hub:
        await hub.signal_entity(Victim.at(HOSTILE), Victim.fail, HOSTILE, "")
        await (await hub.start(careless, HOSTILE)).result()
        hub.pause()
        await hub.signal_entity(Victim.at(HOSTILE), Victim.say, HOSTILE)
    async with TaskHub("Hostile", [careless], store) as hub:  # the entity is not defined any more
        await hub.wait_idle()
    said = [record.getMessage() for record in caplog.records if record.name.startswith("perdure")]
    for what in ("dead letter", "without awaiting a failure", "no entity named"):
        assert any(what in line for line in said), (what, said)
    assert [line for line in said if not line.isprintable()] == []


async def test_values_are_not_logged(caplog: pytest.LogCaptureFixture, autojump_clock: trio.testing.MockClock) -> None:
    """Arguments, states and results are in no line of the log, at any level, and in no letter as it is printed."""
    caplog.set_level(logging.DEBUG, "perdure")
    async with TaskHub("Hostile", [Victim, careless, failing], MemoryStore()) as hub:
        await hub.signal_entity(Victim.at("a"), Victim.fail, "refused", SECRET)
        await hub.call_entity(Victim.at("a"), Victim.say, SECRET)
        instance = await hub.start(careless, "refused")
        assert await instance.result() == SECRET
        (letter,) = (await hub.dead_letters()).items
        assert letter.arguments == ("refused", SECRET)
        printed = [repr(letter), repr(hub), repr(instance), *(record.getMessage() for record in caplog.records)]
    assert any("dead letter" in line for line in printed)
    assert [line for line in printed if SECRET in line] == []


def test_a_report_of_the_check_keeps_to_its_lines(tmp_path: Path) -> None:
    """A finding about an entity with such a key is one line."""
    store = LmdbStore(tmp_path / "hub")
    epoch = store.open()
    rows: dict[str, dict[bytes, bytes | None]] = {table: {} for table in tables.TABLES}
    row = IdleRecord("victim", HOSTILE)
    rows[tables.TIMERS][row.row(b"\0\0\0\0\0\0\0\1", 5)] = encode(row)
    commit = store.submit(Batch(0, epoch, store.commit_number + 1, rows))
    assert commit.wait(10)
    commit.result()
    store.close()
    (finding,) = check_here(tmp_path / "hub").findings
    assert "expiry" in finding.what
    assert finding.what.isprintable()


def test_keys_are_not_shown() -> None:
    """A codec shows the names of its keys, and nothing of the keys."""
    key = AesGcmCodec.generate_key()
    shown = repr(AesGcmCodec({"first": key}, current="first"))
    assert "first" in shown
    assert key.hex() not in shown
    assert repr(key)[2:-1] not in shown
