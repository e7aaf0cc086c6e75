"""Dropping code that waits (O19): its ``finally`` and ``with`` blocks run as Python closes it, and nothing comes out of that."""

from __future__ import annotations

import gc
import logging
import subprocess
import sys
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import pytest
from perdure.orchestration import OrchestrationContext, RuntimeStatus, orchestrator
from perdure.orchestration.closing import abandoned

from .helpers import Bench, Subject, let_go_afterwards
from .work import WORK, Counter, add, echo

LOCKED, FREE = Counter.at("locked"), Counter.at("free")
ROUNDS_MAX = 20_000
"""More rounds than closing may take, fewer than for ever."""
cleaned: list[str] = []


@contextmanager
def signalling(ctx: OrchestrationContext) -> Generator[None]:
    """A ``with`` block that uses the context on its way out."""
    try:
        yield
    finally:
        cleaned.append("with")
        ctx.signal_entity(FREE, Counter.add, 1)
        ctx.set_custom_status("left")


@asynccontextmanager
async def calling(ctx: OrchestrationContext) -> AsyncGenerator[None]:
    """An ``async with`` block that awaits on its way out."""
    try:
        yield
    finally:
        cleaned.append("async with")
        await ctx.call_activity(echo, "cleaning")


@orchestrator
async def tidy(ctx: OrchestrationContext) -> str:
    """Cleans up in every way there is, around a wait."""
    try:
        with signalling(ctx):
            async with calling(ctx), ctx.lock_entities(LOCKED):
                try:
                    return await ctx.wait_for_external_event("go", str)
                finally:
                    cleaned.append("finally")
                    ctx.log.warning("leaving")
                    ctx.call_entity(LOCKED, Counter.add, 1)
    finally:
        cleaned.append("outer")
        ctx.start(tidy)
        ctx.raise_event("other", "gone")


def waiting_inside() -> Subject:
    """An instance that waits inside all of its blocks."""
    cleaned.clear()
    subject = Bench(tidy, *WORK).subject(tidy)
    subject.granted("1")
    return subject


def test_O19_nothing_comes_out_of_an_eviction(caplog: pytest.LogCaptureFixture) -> None:
    """The blocks that Python runs ask, send, log, release and set nothing: no effect, no journal entry, no line, no status."""
    subject = waiting_inside()
    before, record = list(subject.journal), subject.stored_record

    subject.machine.evict()
    gc.collect()
    assert cleaned[0] == "finally"
    assert subject.take() == []
    assert subject.journal == before
    assert subject.record == record
    assert not [each for each in caplog.records if each.name.startswith("perdure.orchestration.tidy")]


def test_O19_an_evicted_instance_goes_on_as_if_nothing_had_been() -> None:
    """Evicted ten times, its blocks do their work once, when they are left for good."""
    expected, subject = waiting_inside(), waiting_inside()
    expected.event("go", "done")
    for _ in range(10):
        subject.evict()
        assert subject.take() == []
    subject.event("go", "done")
    assert subject.journal == expected.journal
    for each in (expected, subject):
        each.completes("4", "cleaning")
        assert each.output == "done"
    assert [type(action).__name__ for action in subject.actions] == [
        "LockEntities",
        "CallEntity",
        "ReleaseLocks",
        "ScheduleActivity",
        "SignalEntity",
        "StartOrchestration",
        "SendEvent",
    ]


def test_O19_ordinary_cleaning_up_is_closed_whole(caplog: pytest.LogCaptureFixture) -> None:
    """Blocks that await on their way out, compensation say, are run to their end: no error is logged, and no code is kept."""
    kept = len(abandoned)
    for _ in range(3):
        subject = waiting_inside()
        subject.machine.evict()
        assert cleaned == ["finally", "async with", "with", "outer"]
    assert len(abandoned) == kept
    assert not caplog.records


def test_O19_evicting_twice_and_evicting_the_finished_changes_nothing() -> None:
    """Neither raises, and both leave the record as it is."""
    subject = waiting_inside()
    subject.machine.evict()
    subject.machine.evict()
    subject.revive()
    subject.event("go", "done")
    subject.completes("4", "cleaning")
    assert subject.status is RuntimeStatus.COMPLETED
    record = subject.stored_record
    subject.machine.evict()
    assert subject.record == record
    assert subject.take() == []


def test_O19_what_closing_raises_concerns_nobody(caplog: pytest.LogCaptureFixture) -> None:
    """An exception out of a ``finally`` block is dropped with the code, whatever it is; the instance can be run again."""

    @orchestrator
    async def raising(ctx: OrchestrationContext, kind: str) -> str:
        try:
            return await ctx.wait_for_external_event("go", str)
        except GeneratorExit:
            raise {"error": ValueError("x"), "exit": SystemExit(3), "interrupt": KeyboardInterrupt()}[kind] from None

    for kind in ("error", "exit", "interrupt"):
        subject = Bench(raising).subject(raising, kind)
        subject.evict()
        subject.event("go", kind)
        assert subject.output == kind
    assert not caplog.records


class Stubborn:
    """Code that asks for more as often as it is closed, until the test lets it go.

    Attributes:
      refusing: it still does.
      closings: how often it was told to end.
    """

    def __init__(self) -> None:
        self.refusing = True
        self.closings = 0

    def let_go(self) -> None:
        """Be closed the next time."""
        self.refusing = False

    async def run(self, ctx: OrchestrationContext) -> Any:
        """Swallow every ending in a loop."""
        while self.refusing:
            try:
                return await ctx.when_all([ctx.call_activity(add, 1, 1), ctx.wait_for_external_event("go")])
            except BaseException as error:
                self.closings += isinstance(error, GeneratorExit)
        return None


@pytest.mark.parametrize("depth", [0, 1, 3])
def test_O19_code_that_swallows_its_closing_is_dropped_and_logged(depth: int, caplog: pytest.LogCaptureFixture) -> None:
    """Closing ends, with one ERROR line that names the instance; nothing comes out, and a replay makes fresh code that works.

    So it is if the loop is in the orchestrator itself, and if it is in a coroutine that the orchestrator awaits.
    """
    stubborn = Stubborn()

    async def helper(ctx: OrchestrationContext, left: int) -> object:
        return await (helper(ctx, left - 1) if left else stubborn.run(ctx))

    async def direct(ctx: OrchestrationContext) -> object:
        while stubborn.refusing:
            try:
                return await ctx.when_all([ctx.call_activity(add, 1, 1), ctx.wait_for_external_event("go")])
            except BaseException as error:
                stubborn.closings += isinstance(error, GeneratorExit)
        return None

    async def nested(ctx: OrchestrationContext) -> object:
        return await helper(ctx, depth - 1)

    swallowing = orchestrator(name="swallowing")(nested if depth else direct)
    kept = len(abandoned)
    with let_go_afterwards(stubborn.let_go):
        subject = Bench(swallowing, *WORK).subject("swallowing")
        before = list(subject.journal)
        subject.machine.evict()
        closings = stubborn.closings
        assert closings > 0
        assert len(abandoned) > kept, "freeing it would run its code once more"
        assert [record.levelname for record in caplog.records] == ["ERROR"]
        assert "'instance'" in caplog.records[0].getMessage()
        caplog.clear()  # the line holds the error, and so the code
        gc.collect()
        assert stubborn.closings == closings, "its code was run again when it was freed"
        assert subject.take() == []
        assert subject.journal == before

        subject.revive()
        subject.event("go", "event")
        subject.completes("1", 2)
        assert subject.output == [2, "event"]
    gc.collect()


PROGRAM = """
import trio
from perdure.hub import TaskHub
from perdure.orchestration import OrchestrationContext, orchestrator
from perdure.storage.memory_store import MemoryStore

@orchestrator
async def swallowing(ctx: OrchestrationContext) -> None:
    while True:
        try:
            await ctx.wait_for_external_event("go")
        except BaseException:
            pass

async def main() -> None:
    async with TaskHub("Test", [swallowing], MemoryStore(), cache_bytes=1) as hub:
        await hub.start(swallowing)
        await hub.wait_idle()
        print(hub.statistics().evictions)

trio.run(main)
"""


def test_O19_a_program_with_such_code_ends() -> None:
    """A process whose hub has dropped code that swallows everything comes to its end, and says nothing of it but in the log."""
    run = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=60, check=True)
    assert int(run.stdout) >= 1
    assert "Exception ignored" not in run.stderr
    assert "refused to be closed" in run.stderr


def test_O19_no_way_to_ask_goes_round_for_ever_while_it_is_closed() -> None:
    """While it is closed, code that loops over any await of the context is stopped at last; none goes round for ever."""
    stubborn = Stubborn()
    rounds: list[str] = []

    @orchestrator
    async def swallowing(ctx: OrchestrationContext, way: str) -> object:
        ways: dict[str, Any] = {
            "activity": lambda: ctx.call_activity(add, 1, 1),
            "entity": lambda: ctx.call_entity(FREE, Counter.add, 1),
            "child": lambda: ctx.call_sub_orchestrator(tidy),
            "event": lambda: ctx.wait_for_external_event("other"),
            "stream": lambda: anext(ctx.events("other")),
            "all": lambda: ctx.when_all([ctx.wait_for_external_event("other"), ctx.call_activity(add, 1, 1)]),
            "any": lambda: ctx.when_any([ctx.wait_for_external_event("other"), ctx.call_activity(add, 1, 1)]),
            "section": lambda: ctx.lock_entities(FREE).__aenter__(),
        }
        while stubborn.refusing and len(rounds) < ROUNDS_MAX:
            try:
                rounds.append(way)
                if len(rounds) == 1:
                    await ctx.wait_for_external_event("go")
                await ways[way]()
            except BaseException:
                continue
        return None

    for way in ("activity", "entity", "child", "event", "stream", "all", "any", "section"):
        rounds.clear()
        stubborn.refusing = True
        with let_go_afterwards(stubborn.let_go):
            subject = Bench(swallowing, tidy, *WORK).subject(swallowing, way)
            subject.machine.evict()
            assert 2 <= len(rounds) < ROUNDS_MAX, f"{way} goes round for ever"
            assert subject.take() == []
    gc.collect()


def test_O19_code_is_closed_when_its_instance_ends() -> None:
    """A terminated instance's blocks run at once, in the same silence, and its record keeps the termination."""
    subject = waiting_inside()
    effects = subject.terminate("enough")
    assert cleaned[0] == "finally"
    assert [type(effect).__name__ for effect in effects] == ["Send", "Finished"], "its locks go, and nothing else"
    assert subject.status is RuntimeStatus.TERMINATED


def test_O19_a_mismatch_closes_the_code_in_silence(caplog: pytest.LogCaptureFixture) -> None:
    """Code whose replay does not fit is dropped like any other: its blocks send and log nothing."""
    caplog.set_level(logging.INFO)

    @orchestrator(name="tidy")
    async def changed(ctx: OrchestrationContext) -> None:
        try:
            await ctx.wait_for_external_event("go")
        finally:
            ctx.log.warning("leaving")
            ctx.signal_entity(FREE, Counter.add, 1)

    subject = waiting_inside().reopened(Bench(changed, *WORK))
    subject.revive()
    assert subject.status is RuntimeStatus.SUSPENDED
    assert subject.take() == []
    assert not [each for each in caplog.records if each.name.startswith("perdure.orchestration.tidy")]
