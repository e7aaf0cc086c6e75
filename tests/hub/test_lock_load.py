"""Two thousand critical sections of twenty orchestrations over ten entities: no deadlock, and locks in order of arrival."""

from __future__ import annotations

import itertools
from collections import defaultdict

from perdure.entities import EntityId
from perdure.entities.messages import EntityMessage, LockRequest
from perdure.hub import TaskHub
from perdure.orchestration import OrchestrationContext, orchestrator

from .lock_world import Counter, watched

OWNERS, ENTITIES, SECTIONS_EACH = 20, 10, 100


@orchestrator
async def lock_again_and_again(ctx: OrchestrationContext, sections: int) -> int:
    """Lock random subsets in random order, and be seen in each; how often that was."""
    visits = 0
    for _ in range(sections):
        chosen = [Counter.at(str(number)) for number in ctx.random.sample(range(ENTITIES), ctx.random.randint(1, 4))]
        async with ctx.lock_entities(*chosen):
            for ref in chosen:
                await ctx.call_entity(ref, Counter.see, ctx.instance_id)
                visits += 1
    return visits


def note_requests(hub: TaskHub) -> dict[EntityId, list[str]]:
    """From now on, note for each entity who asks for its lock, in the order in which the requests arrive."""
    arrivals: dict[EntityId, list[str]] = defaultdict(list)
    engine = hub._open_runtime().engine  # pyright: ignore[reportPrivateUsage] - there is no door for looking at arrivals
    deliver = engine.to_entity

    def to_entity(target: EntityId, message: EntityMessage) -> None:
        if isinstance(message, LockRequest):
            arrivals[target].append(message.section.owner)
        deliver(target, message)

    engine.to_entity = to_entity
    return arrivals


async def test_L_two_thousand_sections_in_order_of_arrival() -> None:
    """Twenty orchestrations lock random subsets of ten entities in random order, 2,000 times in all.

    None gets stuck, nothing stays locked, nobody's visit is lost, and each entity was held in the order in which it was asked.
    """
    async with watched(lock_again_and_again) as hub:
        arrivals = note_requests(hub)
        instances = [await hub.start(lock_again_and_again, SECTIONS_EACH, instance_id=str(number)) for number in range(OWNERS)]
        visits = sum([await instance.result() for instance in instances])
        seen = {item.entity_id: item.state.seen async for item in hub.iter_entities()}
        assert len(seen) == ENTITIES
        assert sum(map(len, seen.values())) == visits >= OWNERS * SECTIONS_EACH
        contended = 0
        for entity_id, owners in seen.items():
            assert owners == arrivals[entity_id], entity_id
            contended += sum(one != other for one, other in itertools.pairwise(owners))
        assert contended > visits / 2, "they hardly met"
