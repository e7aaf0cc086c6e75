"""A disk that fails in the middle of the hub's work: what was acknowledged is there, and the hub goes on, or stops in doubt.

Writes of data and of meta pages and syncs fail one after another in every run, by the real calls of a real LMDB.
"""

from __future__ import annotations

import random
import re

import pytest
import trio
from perdure.hub import limits
from perdure.orchestration import RuntimeStatus
from perdure.storage.errors import StorageError, StorageInDoubt

from ..hub.helpers import bank, receive
from ..storage.disks import small_disk
from .disk_shim import quick_folder, run_under

EVERY = 13
PAGES = "x" * 9000


def test_D4_D10_any_write_or_sync_may_fail() -> None:
    """Whichever write or sync fails, and however, all ends as if none had, in doubt after meta pages only."""
    first = random.SystemRandom().randrange(EVERY)
    print(f"first {first}")
    with quick_folder() as folder:
        said = run_under("-m", "tests.crash.fault_child", str(folder), str(EVERY), str(first), root=folder)
    runs = {tuple(line.split()[:2]): dict(re.findall(r"(\w+)=(\d+)", line)) for line in said.splitlines()}
    assert len(runs) == 9
    for (kind, manner), outcomes in runs.items():
        in_doubt = {"kept" if manner == "LAST" else "lost"} if kind == "META" else set[str]()
        goes_on = {"survived"} if kind != "META" else set[str]()
        assert set(outcomes) - {"refused"} == in_doubt | goes_on, (kind, manner)


async def test_D4_a_full_disk_loses_nothing_and_room_heals_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a really full disk a hub refuses work and goes on reading; once there is room it works again by itself."""
    monkeypatch.setattr(limits, "STORAGE_RETRY_SECONDS", (0.0, 0.0))
    with small_disk() as disk:
        ballast = disk / "ballast"
        ballast.write_bytes(bytes(512 << 10))
        told = 0
        async with bank(disk / "hubs", free_space_floor=0) as hub:
            await hub.start(receive, instance_id="i")
            with pytest.raises(StorageError, match=r"disk that holds .* is full") as caught:  # noqa: PT012 - how many fit is what is looked for
                for _ in range(1000):
                    await hub.raise_event("i", "unread", PAGES)
                    told += 1
            assert not isinstance(caught.value, StorageInDoubt)
            assert told > 10
            assert hub.statistics().storage_failing
            assert (await hub.instance("i").status()).runtime_status is RuntimeStatus.RUNNING
            with pytest.raises(StorageError, match="no new work is taken"):
                await hub.raise_event("i", "unread", PAGES)
            ballast.unlink()
            with trio.fail_after(60):
                await hub.wait_idle()
            await hub.raise_event("i", "unread", PAGES)
        async with bank(disk / "hubs", free_space_floor=0) as hub:
            await hub.terminate("i", "to count what it has not read")
            unread = (await hub.instance("i").status()).unread_events
        assert unread == told + 2, "what was told, what was being written when the disk was full, and the last one"
