"""Operations that fail, and effects that cannot be delivered, in a whole hub (E4, E8)."""

from __future__ import annotations

import logging

import pytest
from perdure.entities import EntityOperationFailed
from perdure.hub.limits import LETTERS_MAX

from ..entities.on_hub import WatchedStore, opened
from .entity_world import OTHER, A, Log, listen, use_badly


async def test_E4_a_failed_call() -> None:
    """The caller is told entity, operation, type and text; nothing was changed or sent; the next call works."""
    async with opened(Log) as hub:
        await hub.call_entity(A, Log.write, "x")
        with pytest.raises(EntityOperationFailed, match=r"'refuse' of @log@a failed with .*Refused: not y") as caught:
            await hub.call_entity(A, Log.refuse, "y")
        error = caught.value
        assert (error.entity_id, error.operation) == (A, "refuse")
        assert error.failure.is_caused_by(ValueError)
        assert "in refuse" in error.failure.traceback
        assert await hub.call_entity(A, Log.write, "z") == 2
        assert await hub.read_entity(OTHER) is None
        assert (await hub.dead_letters(A)).items == []


async def test_E4_a_failed_call_of_an_orchestration() -> None:
    """An orchestration gets the same error at its await, and can handle it."""
    async with opened(Log, use_badly) as hub:
        assert await (await hub.start(use_badly)).result() == "@log@a refuse not x True"


async def test_E4_a_failed_signal(caplog: pytest.LogCaptureFixture) -> None:
    """A failed signal is logged at WARNING and kept as a dead letter, across restarts too."""
    store = WatchedStore()
    async with opened(Log, store=store) as hub:
        with caplog.at_level(logging.WARNING, "perdure"):
            await hub.signal_entity(A, Log.refuse, "x")
            await hub.wait_idle()
        assert [record.levelno for record in caplog.records if "@log@a" in record.getMessage()] == [logging.WARNING]
    async with opened(Log, store=store) as hub:
        (letter,) = (await hub.dead_letters(A)).items
        assert letter.operation == "refuse"
        assert letter.failure.message == "not x"
        assert await hub.read_entity(A) is None


async def test_E4_dead_letters_are_bounded() -> None:
    """Of very many failed signals the newest are kept, in order."""
    async with opened(Log) as hub:
        async with hub.batch() as batch:
            for number in range(LETTERS_MAX + 20):
                batch.signal_entity(A, Log.refuse, str(number))
        await hub.wait_idle()
        texts = [letter.failure.message for letter in (await hub.dead_letters(A)).items]
        assert texts == [f"not {number}" for number in range(20, LETTERS_MAX + 20)]


@pytest.mark.parametrize("name", ["abort_at_once", "abort"])
async def test_E4_whatever_an_operation_raises_is_its_failure(name: str) -> None:
    """An operation, plain or async, that raises something that is no ``Exception`` fails; the hub goes on."""
    async with opened(Log) as hub:
        with pytest.raises(EntityOperationFailed, match="Abort"):
            await hub.call_entity(A, name)
        assert await hub.call_entity(A, Log.write, "x") == 1


# --- E8


async def test_E8_starts_and_events_are_sent_after_the_end() -> None:
    """An operation can start an orchestration and raise an event to it; both arrive, in order."""
    async with opened(Log, listen) as hub:
        started = await hub.call_entity(A, Log.start_and_raise, "mine")
        assert await hub.instance(started).result() == "hello"


async def test_O9_events_of_operations_are_named_in_any_case() -> None:
    """An event that an operation raises reaches a wait for its name in another case."""
    async with opened(Log, listen) as hub:
        started = await hub.call_entity(A, Log.start_and_raise, "mine", "NEWS")
        assert await hub.instance(started).result(timeout=1) == "hello"


async def test_E8_what_cannot_be_delivered_is_dropped_with_a_log_line(caplog: pytest.LogCaptureFixture) -> None:
    """A start of an id that exists, and an event to an instance that has finished, are dropped, and each is logged."""
    async with opened(Log, listen) as hub:
        await hub.call_entity(A, Log.start_and_raise, "mine")
        await hub.instance("mine").result()
        caplog.clear()
        assert await hub.call_entity(A, Log.start_and_raise, "mine") == "mine"
        await hub.wait_idle()
        dropped = [record.getMessage() for record in caplog.records if "dropped" in record.getMessage()]
        assert len(dropped) == 2
        assert all("mine" in text for text in dropped)
        assert (await hub.instance("mine").status()).output == "hello"
