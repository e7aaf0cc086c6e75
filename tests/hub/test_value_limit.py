"""The limit of one value: what takes more is refused where it is handed over or made, and what takes less is kept."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import trio
from perdure.entities import EntityOperationFailed
from perdure.hub import limits
from perdure.hub.orchestration_verbs import REASON_LENGTH_MAX
from perdure.orchestration import OrchestrationFailed
from perdure.storage import NotStorable
from perdure.storage.memory_store import MemoryStore
from perdure.testing.scripted_store import ScriptedStore

from .test_payloads import Shelf, carry, library, work

LIMIT = 70_000
"""What a value may take in the hubs of this file."""


@pytest.mark.parametrize(
    ("verb", "place"),
    [
        (lambda hub: hub.signal_entity(Shelf.at("a"), Shelf.put, bytes(LIMIT)), "argument 'content'"),
        (lambda hub: hub.call_entity(Shelf.at("a"), Shelf.put, bytes(LIMIT)), "argument 'content'"),
        (lambda hub: hub.start(carry, bytes(LIMIT)), "argument 'content'"),
        (lambda hub: hub.instance("i").raise_event("go", "x" * LIMIT), "value"),
    ],
    ids=["signal", "call", "start", "event"],
)
async def test_what_is_too_large_is_refused_at_the_call(verb: Any, place: str) -> None:
    """A client's value over the limit raises NotStorable with its place, its size and the limit, and nothing is stored."""
    store = ScriptedStore()
    async with library(store, value_bytes_max=LIMIT) as hub:
        await hub.start(carry, b"", instance_id="i")
        await hub.wait_idle()
        before = store.disk.snapshot()
        with pytest.raises(NotStorable, match=r"it takes 70,0\d\d bytes encoded, and a value may take 70,000") as caught:
            await verb(hub)
        assert caught.value.place.startswith(place)
        await hub.wait_idle()
        assert store.disk.snapshot() == before


async def test_E4_a_result_or_state_that_is_too_large_fails_the_operation() -> None:
    """An operation whose state or result is over the limit fails without a trace, and the error names the place."""
    async with library(MemoryStore(), value_bytes_max=LIMIT) as hub:
        await hub.call_entity(Shelf.at("a"), Shelf.put, bytes(LIMIT - 100))
        with pytest.raises(EntityOperationFailed, match=r"result.*may take 70,000"):
            await hub.call_entity(Shelf.at("a"), Shelf.copies, 2)
        with pytest.raises(EntityOperationFailed, match=r"state.*may take 70,000"):
            await hub.call_entity(Shelf.at("a"), Shelf.put, bytes(LIMIT - 10))
        assert await hub.call_entity(Shelf.at("a"), Shelf.size) == LIMIT - 100


@pytest.mark.parametrize("then", ["status", "signal", "continue", "return", "activity"])
async def test_what_an_orchestration_makes_too_large_fails_it(then: str) -> None:
    """A custom status, argument, input or result over the limit is an error inside the orchestration that names the limit."""
    async with library(MemoryStore(), value_bytes_max=LIMIT) as hub:
        with pytest.raises(OrchestrationFailed, match=r"may take 70,000"):
            await (await hub.start(work, LIMIT, then)).result()


@pytest.mark.parametrize("limit", [0, -1, True, 65535, 65536.5, "65536", (1 << 30) + 1])
def test_limits_that_are_none_are_refused(limit: Any) -> None:
    """A limit that is no whole number, or out of range, is a ValueError that names the setting."""
    with pytest.raises(ValueError, match="value_bytes_max is a number of bytes, 65,536 to 1,073,741,824"):
        library(MemoryStore(), value_bytes_max=limit)


async def test_O13_the_longest_reason_always_fits() -> None:
    """Under the lowest limit that can be set, an instance is ended with the longest reason there may be."""
    async with library(MemoryStore(), value_bytes_max=limits.VALUE_BYTES_FLOOR) as hub:
        await hub.start(carry, b"", instance_id="i")
        await hub.instance("i").terminate("\U0001f512" * REASON_LENGTH_MAX)
        await hub.wait_idle()
        assert (await hub.instance("i").status()).output == "\U0001f512" * REASON_LENGTH_MAX


@pytest.mark.parametrize("size", [0, -1, True, 1.5, "1"])
def test_thresholds_that_are_none_are_refused(size: Any) -> None:
    """A threshold that is no whole number above 0 is a ValueError that names the setting."""
    with pytest.raises(ValueError, match="payload_bytes_min is a number of bytes, 1 or more"):
        library(MemoryStore(), payload_bytes_min=size)


def test_a_hundred_megabytes_are_refused_or_kept(tmp_path: Path) -> None:
    """A value of 100 MB is a clear error by default; with a limit above it, it is kept on disk exactly, across a restart."""
    value = b"0123456789" * 10_000_000

    async def main() -> None:
        async with library(tmp_path) as hub:
            with pytest.raises(NotStorable, match=r"100,000,0\d\d bytes encoded, and a value may take 16,777,216"):
                await hub.call_entity(Shelf.at("a"), Shelf.put, value)
        async with library(tmp_path, value_bytes_max=200_000_000) as hub:
            await hub.call_entity(Shelf.at("a"), Shelf.put, value)
        async with library(tmp_path) as hub:
            shelf = await hub.read_entity(Shelf.at("a"))
            assert shelf is not None
            assert shelf.content == value
            await hub.call_entity(Shelf.at("a"), "delete")
            assert await hub.call_entity(Shelf.at("b"), Shelf.size) == 0

    trio.run(main)
