"""Careful mode beside clients: what they purge is not begun any more (O20)."""

from __future__ import annotations

from functools import partial

import trio
from attrs import define
from perdure.entities import Entity
from perdure.hub import limits
from perdure.orchestration import OrchestrationContext, activity, orchestrator
from perdure.storage import tables

from ..entities.on_hub import WatchedStore, a_while, opened, until


@define
class Bell(Entity):
    """Something that can be signalled later."""

    def ring(self) -> None:
        """Ring."""


async def test_O20_what_is_purged_while_it_is_being_noted_is_not_begun() -> None:
    """A careful hub does not begin an activity whose instance is purged by the very commit that notes the attempt, and forgets the note."""
    began: list[int] = []

    @activity
    async def work() -> None:
        began.append(1)
        await trio.sleep_forever()

    @orchestrator
    async def works(ctx: OrchestrationContext) -> None:
        await ctx.call_activity(work)

    store = WatchedStore()
    async with opened(Bell, work, works, store=store) as hub:
        instance = await hub.start(works)
        await until(lambda: began)
    began.clear()
    for _ in range(limits.CAREFUL_AFTER_LIVES):
        store.open()
        store.crash()

    store.hold_commits()
    async with opened(Bell, work, works, store=store) as hub, trio.open_nursery() as clients:
        runtime = hub._open_runtime()  # pyright: ignore[reportPrivateUsage] - to see what is on its way to disk
        assert runtime.careful.active
        await until(lambda: runtime.committer.under_way)  # the batch that takes the activity up again
        later = partial(hub.signal_entity, Bell.at("b"), Bell.ring, deliver_at=3600.0)
        clients.start_soon(later)  # so that another batch is under way when the attempt is noted
        await until(lambda: runtime.committer.open.acks)
        store.finish_one()
        await until(lambda: any(key.startswith(b"suspect:") for key in runtime.committer.open.writes[tables.META]))
        clients.start_soon(partial(hub.purge_instance, instance.id, force=True))
        await until(lambda: len(runtime.committer.open.acks) == 1)
        store.hold_commits(False)
        await a_while()
        assert began == []
        rows = store.snapshot()
        assert rows[tables.ACTIVITIES] == {}
        assert not [key for key in rows[tables.META] if key.startswith(b"suspect:")]
