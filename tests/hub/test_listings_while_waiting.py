"""What a listing waits for is in it: a commit that comes while a verb gives way to other tasks is seen by that verb."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any

import outcome
import pytest
from attrs import define
from perdure.entities import Entity
from perdure.hub import TaskHub

from ..entities.on_hub import opened


@define
class Desk(Entity):
    """Refuses what it is handed."""

    def hand_in(self, paper: str) -> None:
        """Refuse it."""
        raise ValueError(f"not {paper}")


DESK = Desk.at("new")


async def letter_comes(hub: TaskHub) -> None:
    """The desk's first dead letter becomes durable."""
    await hub.signal_entity(DESK, Desk.hand_in, "a form")
    await hub.wait_idle()


async def delayed_signal_comes(hub: TaskHub) -> None:
    """The desk's first delayed signal becomes durable."""
    await hub.signal_entity(DESK, Desk.hand_in, "a form", deliver_at=3600)


def led_on(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """Past the checkpoints that are left, to the result."""
    try:
        while True:
            coroutine.send(outcome.Value(None))
    except StopIteration as ended:
        return ended.value


@pytest.mark.parametrize(("verb", "comes"), [("dead_letters", letter_comes), ("delayed_signals", delayed_signal_comes)])
async def test_D2_the_first_item_of_an_entity_may_come_while_the_listing_gives_way(verb: str, comes: Any) -> None:
    """A listing of an entity that did not exist when it was asked for, and did when it looked, has what was there by then."""
    async with opened(Desk) as hub:
        listing: Coroutine[Any, Any, Any] = getattr(hub, verb)(DESK)
        listing.send(None)  # to its checkpoint, at which any other task may run
        await comes(hub)
        assert [item.operation for item in led_on(listing).items] == ["hand_in"]
