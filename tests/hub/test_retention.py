"""Finished instances that go by themselves (O16): when, and that nothing else does, whatever the setting was before."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest
import trio
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st
from perdure.hub import Instance, TaskHub
from perdure.orchestration import InstanceNotFound, OrchestrationContext, OrchestrationFailed, RuntimeStatus, orchestrator
from perdure.storage import tables
from perdure.storage.memory_store import MemoryStore

from . import disk
from .virtual import CACHES, hub_in

Context = OrchestrationContext
DAY = 86_400.0


@orchestrator
async def sleeping(ctx: Context, days: float) -> None:
    """So long."""
    await ctx.sleep(days * DAY)


faulty = [True]


@orchestrator
async def failing(ctx: Context) -> None:
    """Fails until it is mended."""
    if faulty:
        raise LookupError("as told")


async def there(instance: Instance[Any]) -> bool:
    """Whether the instance is there."""
    try:
        await instance.status()
    except InstanceNotFound:
        return False
    return True


@CACHES
async def test_O16_a_finished_instance_goes_after_its_time(cache: int, autojump_clock: object) -> None:
    """It goes so long after its end, not before; what is running stays; nothing of it is left on disk."""
    store = MemoryStore()
    async with hub_in(store, sleeping, cache_bytes=cache, retention=timedelta(days=2)) as hub:
        short, long = await hub.start(sleeping, 1), await hub.start(sleeping, 4)
        await trio.sleep(2.9 * DAY)
        assert await there(short)
        await trio.sleep(0.2 * DAY)
        assert not await there(short)
        assert await there(long)
        await trio.sleep(4 * DAY)
    rows = store.snapshot()
    for table in (tables.DIRECTORY, tables.INSTANCES, tables.HISTORY, tables.INBOX, tables.TIMERS):
        assert not rows[table], table


@pytest.mark.parametrize("verb", ["purge", "restart", "rewind"])
async def test_O16_what_goes_on_takes_its_timer_with_it(verb: str, autojump_clock: object) -> None:
    """An instance that is purged, started again or rewound is not removed when its old time comes."""
    store = MemoryStore()
    faulty[:] = [True]
    async with hub_in(store, failing, retention=2 * DAY) as hub:
        instance = await hub.start(failing, instance_id="x")
        with pytest.raises(OrchestrationFailed):
            await instance.result()
        assert len(store.snapshot()[tables.TIMERS]) == 1
        await trio.sleep(1.5 * DAY)
        faulty.clear()
        match verb:
            case "purge":
                await instance.purge()
                assert not store.snapshot()[tables.TIMERS]
                return
            case "restart":
                await instance.restart(new_id=False)
            case _:
                await instance.rewind()
        await instance.result()
        await hub.wait_idle()
        assert len(store.snapshot()[tables.TIMERS]) == 1
        await trio.sleep(1 * DAY)
        assert (await instance.status()).runtime_status is RuntimeStatus.COMPLETED
        await trio.sleep(1.1 * DAY)
        assert not await there(instance)


PERIODS = st.none() | st.integers(0, 6)


@settings(max_examples=10, deadline=None)
@given(st.lists(st.tuples(PERIODS, st.integers(0, 3)), min_size=1, max_size=5))
def test_O16_the_present_setting_counts_for_all(lives: list[tuple[int | None, int]]) -> None:
    """However the period was changed between openings, an instance is there if and only if its time is not over, by the present one."""

    async def run() -> None:
        store, ended = MemoryStore(), {}
        for number, (period, days) in enumerate(lives):
            retention = None if period is None else period * DAY
            async with hub_in(store, sleeping, retention=retention) as hub:
                await hub.start(sleeping, 0, instance_id=f"{number}")
                await hub.instance(f"{number}").result()
                ended[f"{number}"] = trio.current_time()
                await trio.sleep(days * DAY + 1)
                await hub.wait_idle()
                for name, at in list(ended.items()):
                    over = retention is not None and trio.current_time() - at > retention
                    assert await there(hub.instance(name)) != over
                    if over:
                        del ended[name]
            disk.check(store.snapshot())

    trio.run(run, clock=trio.testing.MockClock(autojump_threshold=0))


@pytest.mark.parametrize("wrong", [-1, float("nan"), "a day", datetime(2030, 1, 1), True])
def test_a_retention_that_is_no_duration_is_refused(wrong: Any) -> None:
    """What is no duration is refused when the hub is made."""
    with pytest.raises((ValueError, TypeError)):
        TaskHub("Wrong", [], MemoryStore(), retention=wrong)
