"""Shapes of orchestrations among others: entities, critical sections, children, partners; and what is drawn by lot."""

from __future__ import annotations

from perdure.entities import EntityOperationFailed
from perdure.orchestration import DurableTask, OrchestrationContext, SubOrchestrationFailed, orchestrator

from .corpus_alone import immediate, uncaught
from .shapes import CORPUS, Happening, Purse, plus, same

Context = OrchestrationContext

# --- entities


@CORPUS.shape(result=[30, 70])
@orchestrator
async def transfer(ctx: Context) -> list[int]:
    """A critical section over two entities."""
    source, target = Purse.at("source"), Purse.at("target")
    await ctx.call_entity(source, Purse.put, 100)
    async with ctx.lock_entities(target, source):
        return [await ctx.call_entity(target, Purse.put, 30), await ctx.call_entity(source, Purse.take, 30)]


@CORPUS.shape(failure="only 5 coins")
@orchestrator
async def section_left_by_failure(ctx: Context) -> None:
    """An operation fails inside a section, and the failure leaves it."""
    purse = Purse.at("poor")
    ctx.signal_entity(purse, Purse.put, 5)
    async with ctx.lock_entities(purse):
        await ctx.call_entity(purse, Purse.take, 6)


@CORPUS.shape(events=(Happening("go"),), result=[1, "only 1 coins", 4])
@orchestrator
async def sections_one_after_another(ctx: Context) -> list[object]:
    """Sections with waits, activities and failures in them."""
    seen: list[object] = []
    purse = Purse.at("shared")
    async with ctx.lock_entities(purse, Purse.at("other")):
        seen.append(await ctx.call_entity(purse, Purse.put, await ctx.call_activity(plus, 0, 1)))
        await ctx.wait_for_external_event("go")
    async with ctx.lock_entities(purse):
        try:
            await ctx.call_entity(purse, Purse.take, 9)
        except EntityOperationFailed as error:
            seen.append(error.failure.message)
        ctx.signal_entity(Purse.at("third"), Purse.put, 1)
    return [*seen, await ctx.call_entity(purse, Purse.put, 3)]


@CORPUS.shape(result=55)
@orchestrator
async def signals_then_call(ctx: Context) -> int:
    """Signals arrive before the call that was sent after them."""
    for amount in range(1, 11):
        ctx.signal_entity(Purse.at("signalled"), Purse.put, amount)
    return await ctx.call_entity(Purse.at("signalled"), Purse.put, 0)


# --- other orchestrations


@CORPUS.shape(6, result=720)
@orchestrator
async def factorial(ctx: Context, number: int) -> int:
    """A child in a child in a child."""
    return 1 if number < 2 else number * await ctx.call_sub_orchestrator(factorial, number - 1)


@CORPUS.shape(result=[2, 6, 24])
@orchestrator
async def children_side_by_side(ctx: Context) -> list[int]:
    """Several children at a time."""
    return await ctx.when_all([ctx.call_sub_orchestrator(factorial, number) for number in (2, 3, 4)])


@CORPUS.shape(result=["nobody catches this", "at once", "at once"])
@orchestrator
async def children_by_name(ctx: Context) -> list[object]:
    """A failing child is caught; a chosen id is used twice, one after another."""
    seen: list[object] = []
    try:
        await ctx.call_sub_orchestrator(uncaught, instance_id="named")
    except SubOrchestrationFailed as error:
        seen.append(str(error.failure.cause and error.failure.cause.message))
    for _ in range(2):
        seen.append(await ctx.call_sub_orchestrator(immediate, instance_id="named"))
    return seen


@CORPUS.define
@orchestrator
async def pinged(ctx: Context, back_to: str) -> int:
    """Answers events with events."""
    total = 0
    async for number in ctx.events("ping", int):
        total += number
        ctx.raise_event(back_to, "pong", total)
        if number == 3:
            return total
    return -1


@CORPUS.shape(result=[1, 3, 6])
@orchestrator
async def ping_pong(ctx: Context) -> list[object]:
    """Two instances that raise events to each other."""
    partner = ctx.start(pinged, ctx.instance_id)
    ctx.raise_event("nobody", "ping", 1)
    seen: list[object] = []
    for number in (1, 2, 3):
        ctx.raise_event(partner, "PING", number)
        seen.append(await ctx.wait_for_external_event("Pong"))
    return seen


@CORPUS.shape(result=[1, 2, 3])
@orchestrator
async def to_itself(ctx: Context) -> list[object]:
    """Raises events to itself, some before it waits."""
    for number in (1, 2, 3):
        ctx.raise_event(ctx.instance_id, "Note", number)
    return [await ctx.wait_for_external_event("note") for _ in range(3)]


@CORPUS.shape(events=(Happening("end"),), result="three started")
@orchestrator
async def starts(ctx: Context) -> str:
    """Fire and forget; the second start of an id is dropped."""
    for _ in range(2):
        ctx.start(factorial, 3, instance_id="started")
    ctx.start(uncaught)
    await ctx.wait_for_external_event("end")
    return "three started"


# --- time and randomness


@CORPUS.shape(result=[True, True, True], draws=True)
@orchestrator
async def ids_and_numbers(ctx: Context) -> list[bool]:
    """What was drawn comes back from an activity as it was."""
    identity, number, now = str(ctx.uuid4()), ctx.random.random(), ctx.now
    same_id = await ctx.call_activity(same, identity) == identity
    same_number = await ctx.call_activity(same, number) == number
    return [same_id, same_number, await ctx.call_activity(same, now.isoformat()) == now.isoformat() and ctx.now >= now]


@CORPUS.shape(result=15, draws=True)
@orchestrator
async def random_order(ctx: Context) -> int:
    """The random numbers decide what is asked for, and in which order."""
    numbers = [1, 2, 3, 4, 5]
    ctx.random.shuffle(numbers)
    ctx.signal_entity(Purse.at("random"), Purse.put, 1)
    total = 0
    for number in numbers:
        if ctx.random.random() < 0.5:
            ctx.signal_entity(Purse.at("random"), Purse.put, number)
        total = await ctx.call_activity(plus, total, number)
    return total


@CORPUS.shape(8, result=list(range(8)), draws=False)
@orchestrator
async def first_come(ctx: Context, width: int) -> list[int]:
    """Takes results in whatever order they come, and starts another step for each."""
    pending: list[DurableTask[int]] = [ctx.call_activity(plus, number, 0) for number in range(width)]
    seen: list[int] = []
    while pending:
        winner = await ctx.when_any(pending)
        pending.remove(winner)
        seen.append(winner.result)
    return sorted(seen)
