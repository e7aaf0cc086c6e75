"""Shapes of orchestrations by themselves: steps, failures, values, combinators and events."""

from __future__ import annotations

from collections.abc import AsyncGenerator

from perdure.orchestration import ActivityFailed, OrchestrationContext, orchestrator

from .shapes import CORPUS, Happening, broken, loud, plus, same, united

Context = OrchestrationContext

# --- steps


@CORPUS.shape(result="at once")
@orchestrator
async def immediate(ctx: Context) -> str:
    """No step at all."""
    return "at once"


@CORPUS.shape(5, result=10)
@orchestrator
async def sequence(ctx: Context, count: int) -> int:
    """One after another."""
    total = 0
    for number in range(count):
        total = await ctx.call_activity(plus, total, number)
    return total


@CORPUS.shape(40, result=780)
@orchestrator
async def many_steps(ctx: Context, count: int) -> int:
    """A long sequence."""
    total = 0
    for number in range(count):
        total = await ctx.call_activity(plus, total, number)
    return total


@CORPUS.shape("a", result=["A", "AB", "ABC"])
@orchestrator
async def in_threads(ctx: Context, text: str) -> list[str]:
    """Plain activities."""
    seen: list[str] = []
    for letter in ("", "b", "c"):
        text = await ctx.call_activity(loud, text + letter)
        seen.append(text)
    return seen


@CORPUS.shape(12, result=sum(range(12)) + 12)
@orchestrator
async def fan_out(ctx: Context, width: int) -> int:
    """Out and in again."""
    return sum(await ctx.when_all([ctx.call_activity(plus, number, 1) for number in range(width)]))


@CORPUS.shape(failure="first")
@orchestrator
async def fan_out_failing(ctx: Context) -> list[int]:
    """Two of four fail; the first in the order given counts."""
    texts = ("first", "second")
    return await ctx.when_all([ctx.call_activity(plus, 1, 1), *(ctx.call_activity(broken, text) for text in texts)])


@CORPUS.shape(result=["no luck", 3])
@orchestrator
async def compensating(ctx: Context) -> list[object]:
    """A failure is caught, and made good."""
    try:
        await ctx.call_activity(broken, "no luck")
    except ActivityFailed as error:
        return [error.failure.message, await ctx.call_activity(plus, 1, 2)]
    return []


@CORPUS.shape(failure="nobody catches this")
@orchestrator
async def uncaught(ctx: Context) -> None:
    """A failure that nobody catches, and a finally block that works."""
    try:
        await ctx.call_activity(broken, "nobody catches this")
    finally:
        await ctx.call_activity(same, "cleaned up")


@CORPUS.shape(failure="several")
@orchestrator
async def group_raised(ctx: Context) -> None:
    """An exception group."""
    await ctx.call_activity(same, 1)
    raise ExceptionGroup("several", [KeyError("a"), ValueError("b")])


@CORPUS.shape(events=(Happening("end"),), result="done")
@orchestrator
async def forgetful(ctx: Context) -> str:
    """A failure that nobody awaits, and work that nobody waits for."""
    ctx.call_activity(broken, "unawaited")
    await ctx.wait_for_external_event("end")
    ctx.call_activity(same, "late")
    return "done"


async def _twice(ctx: Context, number: int) -> int:
    return await ctx.call_activity(plus, number, number)


@CORPUS.shape(3, result=[6, 12, 24])
@orchestrator
async def helpers_and_generators(ctx: Context, number: int) -> list[int]:
    """Helper coroutines, a generator, and an async generator that is used up."""

    async def doubled(times: int) -> AsyncGenerator[int]:
        last = number
        for _ in range(times):
            last = await _twice(ctx, last)
            yield last

    return [value async for value in doubled(3)]


@CORPUS.shape(result=["four", "left2", "one", "right3", "three", "two"])
@orchestrator
async def sets(ctx: Context) -> list[str]:
    """Values without an order of their own."""
    named = {"right": {1, 2, 3}, "left": {4, 5}}
    return sorted(await ctx.call_activity(united, {"one", "two", "three"}, frozenset({"three", "four"}), named))


@CORPUS.shape(result=200_000)
@orchestrator
async def large_values(ctx: Context) -> int:
    """A large value there and back."""
    return len(str(await ctx.call_activity(same, "x" * 200_000)))


@CORPUS.shape("Grüße, 世界 🌍", events=(Happening("ÄRGER", "größer 🎈"),), result=["GRÜSSE, 世界 🌍", "größer 🎈", "\0é"])
@orchestrator
async def unicode_values(ctx: Context, text: str) -> list[object]:
    """Text from everywhere."""
    return [await ctx.call_activity(loud, text), await ctx.wait_for_external_event("ärger"), await ctx.call_activity(same, "\0é")]


# --- combinators and events


@CORPUS.shape(events=(Happening("b", 1), Happening("a", 2)), result=["b", 1, 2])
@orchestrator
async def race_of_events(ctx: Context) -> list[object]:
    """The loser of a race eats nothing."""
    lost, won = ctx.wait_for_external_event("a"), ctx.wait_for_external_event("b")
    winner = await ctx.when_any([lost, won])
    return ["b" if winner is won else "a", winner.result, await ctx.wait_for_external_event("a")]


@CORPUS.shape(events=(Happening("answer", "late"),), result=["activity", "activity", "late"])
@orchestrator
async def race_with_activity(ctx: Context) -> list[object]:
    """Twice the activity wins; the event goes to the wait after that."""
    seen: list[object] = []
    for number in range(2):
        wait = ctx.wait_for_external_event("answer")
        winner = await ctx.when_any([wait, ctx.call_activity(same, number)])
        seen.append("event" if winner is wait else "activity")
    return [*seen, await ctx.wait_for_external_event("answer")]


@CORPUS.shape(events=(Happening("x", 1), Happening("y", 2), Happening("x", 3)), result=[[2, 5], 3, [1, 2]])
@orchestrator
async def nested(ctx: Context) -> list[object]:
    """Combinators in combinators, with events and activities in them."""
    x, y = ctx.wait_for_external_event("x"), ctx.wait_for_external_event("y")
    both = ctx.when_all([x, y])
    sums = ctx.when_all([ctx.call_activity(plus, 1, 1), ctx.call_activity(plus, 2, 3)])
    inner = ctx.when_any([ctx.when_all([both, ctx.wait_for_external_event("never")]), sums])
    await ctx.when_all([ctx.when_any([both]), inner])
    return [sums.result, await ctx.wait_for_external_event("x"), both.result]


@CORPUS.shape(result=[[1, 2, 1], 1, [[1, 1], [2]]])
@orchestrator
async def shared_tasks(ctx: Context) -> list[object]:
    """Tasks in several combinators, twice in one, and finished ones."""
    one, two = ctx.call_activity(same, 1), ctx.call_activity(same, 2)
    triple = await ctx.when_all([one, two, one])
    return [triple, (await ctx.when_any([one, one])).result, await ctx.when_all([ctx.when_all([one, one]), ctx.when_all([two])])]


@CORPUS.shape(events=tuple(Happening("Number", number) for number in (1, 2, 3, 0, 9)), result=6)
@orchestrator
async def event_stream(ctx: Context) -> int:
    """Events in a loop, and one after it."""
    total = 0
    async for number in ctx.events("number", int):
        if not number:
            break
        total = await ctx.call_activity(plus, total, number)
    await ctx.wait_for_external_event("number", int)
    return total


@CORPUS.shape(
    events=(Happening("item", 1), Happening("item", 2), Happening("tick"), Happening("item", 3)), result=[1, 2, None, 3]
)
@orchestrator
async def polled(ctx: Context) -> list[object]:
    """Asks whether events are there."""
    await ctx.wait_for_external_event("tick")
    seen: list[object] = []
    for _ in range(3):
        wait = ctx.wait_for_external_event("item")
        seen.append(wait.result if wait.done else None)
    return [*seen, await ctx.wait_for_external_event("item")]


@CORPUS.shape(events=(Happening("n", "one"), Happening("n", 2)), result=["refused", 2])
@orchestrator
async def wrong_type(ctx: Context) -> list[object]:
    """An event of the wrong type is refused and consumed."""
    try:
        return [await ctx.wait_for_external_event("n", int)]
    except ValueError:
        return ["refused", await ctx.wait_for_external_event("n", int)]


@CORPUS.shape(events=(Happening("go", 2), Happening("left over"), Happening("go", 1)), result=[2, 1])
@orchestrator
async def statuses(ctx: Context) -> list[int]:
    """Shows where it is, and leaves an event unread."""
    seen: list[int] = []
    while len(seen) < 2:
        ctx.set_custom_status({"seen": list(seen)})
        seen.append(await ctx.wait_for_external_event("go", int))
    return seen
