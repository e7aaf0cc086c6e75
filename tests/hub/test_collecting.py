"""An open hub has the garbage collector come less often, and leaves the process as it found it."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest
from perdure.hub import TaskHub
from perdure.hub.collecting import UNTOUCHED, WHILE_OPEN
from perdure.storage.errors import HubInUse
from perdure.storage.memory_store import MemoryStore


@pytest.fixture(autouse=True)
def as_python_sets_it() -> Iterator[None]:
    """The collector as a fresh process has it, and afterwards as this process had it."""
    before, enabled = gc.get_threshold(), gc.isenabled()
    gc.set_threshold(700, 10, 10)
    gc.enable()
    yield
    gc.set_threshold(*before)
    if not enabled:
        gc.disable()


def hub() -> TaskHub:
    return TaskHub("shop", [], storage=MemoryStore())


@pytest.mark.parametrize("untouched", UNTOUCHED)
async def test_the_collector_comes_less_often_while_a_hub_is_open_and_as_before_afterwards(untouched: int) -> None:
    gc.set_threshold(untouched, 10, 10)
    async with hub():
        assert gc.get_threshold() == (WHILE_OPEN, 10, 10)
    assert gc.get_threshold() == (untouched, 10, 10)


async def test_only_the_last_of_several_hubs_puts_it_back() -> None:
    async with hub():
        async with hub():
            pass
        assert gc.get_threshold()[0] == WHILE_OPEN
    assert gc.get_threshold() == (700, 10, 10)


async def test_a_hub_whose_body_raises_puts_it_back() -> None:
    with pytest.raises(KeyError):
        async with hub():
            raise KeyError
    assert gc.get_threshold() == (700, 10, 10)


@pytest.mark.parametrize("own", [(701, 10, 10), (50_000, 5, 5), (0, 0, 0)])
async def test_a_threshold_that_the_program_has_set_stays(own: tuple[int, int, int]) -> None:
    gc.set_threshold(*own)
    async with hub():
        assert gc.get_threshold() == own
    assert gc.get_threshold() == own


async def test_what_is_set_while_a_hub_is_open_stays_when_it_closes() -> None:
    async with hub():
        gc.set_threshold(3000, 4, 5)
    assert gc.get_threshold() == (3000, 4, 5)


async def test_a_collector_that_is_off_is_left_alone() -> None:
    gc.disable()
    async with hub():
        assert gc.get_threshold() == (700, 10, 10)
        assert not gc.isenabled()


async def test_a_hub_that_cannot_be_opened_changes_nothing() -> None:
    store = MemoryStore()
    async with TaskHub("shop", [], storage=store):
        gc.set_threshold(700, 10, 10)
        with pytest.raises(HubInUse):
            await TaskHub("shop", [], storage=store).__aenter__()
        assert gc.get_threshold() == (700, 10, 10)
