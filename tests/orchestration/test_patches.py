"""Changing code while instances run (O3): ``ctx.patched``, and versions side by side."""

from __future__ import annotations

import pytest
from perdure.orchestration import OrchestrationContext, RuntimeStatus, orchestrator
from perdure.orchestration.history import UsePatch
from perdure.storage.memory_store import MemoryStore

from .helpers import Bench
from .hubs import opened
from .timing import Timed, timed
from .work import WORK, add, echo, shout

Context = OrchestrationContext


@orchestrator(name="changing")
async def old(ctx: Context) -> str:
    """As it was: a wait, a step, a wait, a step."""
    await ctx.wait_for_external_event("go")
    await ctx.call_activity(echo, "old")
    await ctx.wait_for_external_event("go")
    await ctx.call_activity(shout, "old")
    return "old"


@orchestrator(name="changing")
async def new(ctx: Context) -> str:
    """The first step has changed, under a patch."""
    await ctx.wait_for_external_event("go")
    changed = ctx.patched("sum")
    if changed:
        await ctx.call_activity(add, 1, 2)
    else:
        await ctx.call_activity(echo, "old")
    await ctx.wait_for_external_event("go")
    await ctx.call_activity(shout, f"new {changed} {ctx.patched('sum')}")
    return f"new {changed} {ctx.patched('sum')}"


OLD, NEW = Bench(old, *WORK), Bench(new, *WORK)


def changed(subject: Timed, bench: Bench = NEW) -> Timed:
    """The same instance under new code, revived."""
    moved = subject.reopened(bench)
    fresh = Timed(bench, subject.instance_id)
    fresh.machine, fresh.journal, fresh.now = moved.machine, moved.journal, moved.now
    fresh.timers = subject.timers
    fresh.revive()
    return fresh


def test_a_new_execution_takes_the_new_branch() -> None:
    """In an execution that began with the new code the patch is there, and stays there in every replay."""
    subject = timed(NEW, new)
    subject.event("go")
    assert [entry.name for entry in subject.journal if isinstance(entry, UsePatch)] == ["sum"]
    subject.evict()
    subject.completes("1", 3)
    subject.evict()
    subject.event("go")
    assert subject.argument("2") == "new True True"
    subject.evict()
    subject.completes("2", "x")
    assert subject.output == "new True True"


def test_an_execution_that_had_passed_keeps_the_old_branch() -> None:
    """In one that had passed the place before the change the patch is not there, in the live part and every replay."""
    subject = timed(OLD, old)
    subject.event("go")
    subject = changed(subject)
    assert subject.status is RuntimeStatus.RUNNING
    subject.completes("1", "old")
    subject.evict()
    subject.event("go")
    assert subject.argument("2") == "new False False"
    subject.evict()
    subject.completes("2", "x")
    assert subject.output == "new False False"
    assert not any(isinstance(entry, UsePatch) for entry in subject.journal)


@pytest.mark.parametrize("evicted", [False, True])
def test_an_execution_that_had_not_passed_takes_the_new_branch(evicted: bool) -> None:
    """One that waits before the place when the change comes goes on with the new branch."""
    subject = changed(timed(OLD, old))
    subject.event("go")
    if evicted:
        subject.evict()
    subject.completes("1", 3)
    subject.event("go")
    assert subject.argument("2") == "new True True"


def test_without_a_patch_the_change_is_a_mismatch() -> None:
    """The same change without ``patched`` suspends an instance that had passed: that is what patches are for."""

    @orchestrator(name="changing")
    async def careless(ctx: Context) -> str:
        await ctx.wait_for_external_event("go")
        await ctx.call_activity(add, 1, 2)
        return "careless"

    subject = timed(OLD, old)
    subject.event("go")
    fresh = subject.reopened(Bench(careless, *WORK))
    fresh.revive()
    assert fresh.status is RuntimeStatus.SUSPENDED


def test_a_patch_in_a_loop_is_decided_once() -> None:
    """An execution that came by without the patch does not have it in later rounds either; one that began with it has."""

    @orchestrator(name="rounds")
    async def before(ctx: Context) -> list[bool]:
        for _ in range(3):
            await ctx.wait_for_external_event("go")
            await ctx.call_activity(echo, 1)
        return []

    @orchestrator(name="rounds")
    async def after(ctx: Context) -> list[bool]:
        seen: list[bool] = []
        for _ in range(3):
            await ctx.wait_for_external_event("go")
            seen.append(ctx.patched("round"))
            await ctx.call_activity(echo, 1)
        return seen

    for first, expected in ((before, [False] * 3), (after, [True] * 3)):
        subject = timed(Bench(first, *WORK), first)
        for number in (1, 2, 3):
            subject.event("go")
            subject = changed(subject, Bench(after, *WORK))
            subject.completes(str(number), 1)
        assert subject.output == expected


def test_patches_are_of_one_execution() -> None:
    """A new execution (continue as new) decides anew: there the patch is in force."""

    @orchestrator(name="renewing")
    async def before(ctx: Context, round_number: int) -> bool:
        await ctx.wait_for_external_event("go")
        await ctx.call_activity(echo, 1)
        return False

    @orchestrator(name="renewing")
    async def after(ctx: Context, round_number: int) -> bool:
        await ctx.wait_for_external_event("go")
        has = ctx.patched("p")
        await ctx.call_activity(echo, 1)
        if round_number == 1:
            assert not has
            ctx.continue_as_new(2)
        return has

    subject = timed(Bench(before, *WORK), before, 1)
    subject.event("go")
    fresh = changed(subject, Bench(after, *WORK))
    fresh.completes("1", 1)
    assert fresh.status is RuntimeStatus.RUNNING, fresh.record.failure
    fresh.event("go")
    fresh.evict()
    fresh.completes("1", 1)
    assert fresh.output is True


def test_several_patches() -> None:
    """Patches of different names are decided one by one."""

    @orchestrator
    async def two(ctx: Context) -> list[bool]:
        first = ctx.patched("first")
        await ctx.wait_for_external_event("go")
        return [first, ctx.patched("second"), ctx.patched("first")]

    subject = timed(Bench(two, *WORK), two)
    subject.evict()
    subject.event("go")
    assert subject.output == [True, True, True]


@pytest.mark.parametrize("name", ["", "x" * 101])
def test_the_name_of_a_patch(name: str) -> None:
    """An empty or over-long name is a ValueError that says what is allowed."""

    @orchestrator
    async def wrong(ctx: Context) -> str:
        try:
            ctx.patched(name)
        except ValueError as error:
            return str(error)
        return "taken"

    subject = timed(Bench(wrong, *WORK), wrong)
    assert "1 to 100" in subject.output


# --- versions side by side


@orchestrator(name="versioned", version="1")
async def first_version(ctx: Context, text: str) -> str:
    """As it was."""
    await ctx.wait_for_external_event("go")
    return f"{ctx.version} {await ctx.call_activity(shout, text)}"


@orchestrator(name="versioned", version="2")
async def second_version(ctx: Context, text: str) -> str:
    """As it is now."""
    before = await ctx.call_activity(shout, text)
    await ctx.wait_for_external_event("go")
    return f"{ctx.version} {before}"


@pytest.mark.parametrize("cache", [64 << 20, 1])
async def test_versions_side_by_side(cache: int) -> None:
    """Instances run to their end with the version that they were started with, also when a newer one is defined meanwhile."""
    store = MemoryStore()
    async with opened([first_version, shout], store, cache_bytes=cache) as hub:
        await hub.start("versioned", "a", instance_id="old")
        await hub.wait_idle()
    async with opened([first_version, second_version, shout], store, cache_bytes=cache) as hub:
        await hub.start(second_version, "b", instance_id="new")
        await hub.start(first_version, "c", instance_id="old again")
        await hub.wait_idle()
        for name in ("old", "new", "old again"):
            await hub.raise_event(name, "go")
        assert [await hub.instance(name).result() for name in ("old", "new", "old again")] == ["1 A", "2 B", "1 C"]
        assert (await hub.instance("old").status()).version == "1"
        with pytest.raises(ValueError, match="versions"):
            await hub.start("versioned", "d")
        restarted = await hub.restart("old")
        assert (await restarted.status()).version == "1"


async def test_a_version_that_is_missing_waits() -> None:
    """An instance of a version that this hub does not define waits, changes nothing, and goes on when it is defined (O18)."""
    store = MemoryStore()
    async with opened([first_version, shout], store) as hub:
        await hub.start(first_version, "a", instance_id="old")
        await hub.wait_idle()
    async with opened([second_version, shout], store) as hub:
        await hub.raise_event("old", "go")
        await hub.wait_idle()
        assert (await hub.instance("old").status()).runtime_status is RuntimeStatus.RUNNING
    async with opened([first_version, second_version, shout], store) as hub:
        assert await hub.instance("old").result() == "1 A"
