"""An open hub has the garbage collector come less often, and leaves the process as it found it."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
from collections.abc import Iterator

import pytest
from perdure.hub import TaskHub
from perdure.hub.collecting import UNTOUCHED, WHILE_OPEN, hub_closed, hub_opened
from perdure.storage.errors import DamagedRecord, HubInUse
from perdure.storage.memory_store import MemoryStore


@pytest.fixture(autouse=True)
def as_python_sets_it() -> Iterator[None]:
    """The collector as a fresh process has it, and afterwards as this process had it."""
    before, enabled = gc.get_threshold(), gc.isenabled()
    gc.set_threshold(*UNTOUCHED)
    gc.enable()
    try:
        yield
    finally:
        gc.set_threshold(*before)
        (gc.enable if enabled else gc.disable)()


def hub() -> TaskHub:
    return TaskHub("shop", [], storage=MemoryStore())


def test_it_is_known_how_python_sets_it() -> None:
    fresh = subprocess.run(
        [sys.executable, "-c", "import gc; print(gc.get_threshold())"], capture_output=True, text=True, check=True
    )
    assert fresh.stdout.strip() == str(UNTOUCHED)


async def test_the_collector_comes_less_often_while_a_hub_is_open_and_as_before_afterwards() -> None:
    async with hub():
        assert gc.get_threshold() == (WHILE_OPEN, *UNTOUCHED[1:])
    assert gc.get_threshold() == UNTOUCHED


async def test_only_the_last_of_several_hubs_puts_it_back() -> None:
    async with hub():
        async with hub():
            pass
        assert gc.get_threshold()[0] == WHILE_OPEN
    assert gc.get_threshold() == UNTOUCHED


async def test_a_hub_whose_body_raises_puts_it_back() -> None:
    with pytest.raises(KeyError):
        async with hub():
            raise KeyError
    assert gc.get_threshold() == UNTOUCHED


@pytest.mark.parametrize("own", [(701, 10, 10), (50_000, 5, 5), (0, 0, 0), (UNTOUCHED[0], 25, 5), (2000, 25, 5)])
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
        assert gc.get_threshold() == UNTOUCHED
        assert not gc.isenabled()


async def test_a_hub_that_cannot_be_opened_changes_nothing() -> None:
    store = MemoryStore()
    async with TaskHub("shop", [], storage=store):
        gc.set_threshold(*UNTOUCHED)
        with pytest.raises(HubInUse):
            await TaskHub("shop", [], storage=store).__aenter__()
        assert gc.get_threshold() == UNTOUCHED


async def test_a_hub_that_fails_late_in_opening_leaves_nothing_behind() -> None:
    store = DamagedSetting()
    async with TaskHub("shop", [], storage=store, retention=60.0):
        pass
    store.damaged = True
    async with TaskHub("shop", [], storage=store, retention=60.0):
        assert gc.get_threshold()[0] == WHILE_OPEN
    assert gc.get_threshold() == UNTOUCHED


class DamagedSetting(MemoryStore):
    """A store in which the row of the retention setting can be damaged."""

    damaged = False

    def get(self, table: str, key: bytes) -> bytes | None:
        """Read a record."""
        if self.damaged and key == b"retention":
            raise DamagedRecord(table, key)
        return super().get(table, key)


def test_a_forked_child_has_its_collector_as_python_sets_it_until_it_opens_a_hub() -> None:
    hub_opened()
    child = os.fork()
    if not child:
        try:
            as_set = gc.get_threshold() == UNTOUCHED
            hub_opened()
            raised = gc.get_threshold()[0] == WHILE_OPEN
            hub_closed()
            hub_closed()  # the parent's hub, whose block the child leaves too
            os._exit(0 if as_set and raised and gc.get_threshold() == UNTOUCHED else 1)
        finally:
            os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert gc.get_threshold()[0] == WHILE_OPEN
    hub_closed()
    assert gc.get_threshold() == UNTOUCHED
