"""What the programs of peers share: they count as ours do, and give their figures the names of ours."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
import trio

from benchmarks.measuring import Run
from benchmarks.peers.measuring import Figures, Stretch, closed_loop, one_and_many, run, timed
from benchmarks.registry import WORKLOADS


async def _nothing(_: int) -> None:
    await asyncio.sleep(0)


@pytest.mark.parametrize("workload", ["call", "sequence3"])
async def test_peers_figures_have_the_names_and_units_of_ours(workload: str, tmp_path: Path) -> None:
    """Each figure of a peer's one-and-many clients is one that our workload has, in the same unit, so that they are compared."""
    ours = await WORKLOADS[workload].run(Run(tmp_path, 0.0005))

    theirs = await trio.to_thread.run_sync(asyncio.run, one_and_many(_nothing, _nothing, 0.001))

    assert {(figure["name"], figure["unit"]) for figure in theirs} <= {(figure.name, figure.unit) for figure in ours}


def test_a_peers_loop_does_every_operation_once() -> None:
    """Whatever the number of clients, each operation is done once and has a latency, and all lie within the stretch."""
    done: list[int] = []

    async def operation(number: int) -> None:
        await asyncio.sleep(0)
        done.append(number)

    stretch = asyncio.run(timed(lambda: closed_loop(7, float("inf"), operation, most=20)))

    assert sorted(done) == list(range(20))
    assert len(stretch.latencies) == 20
    assert max(stretch.latencies) <= stretch.seconds


def test_a_peers_loop_begins_nothing_after_its_time() -> None:
    """When the time is over no further operation is begun, but the first one always is."""
    assert len(asyncio.run(closed_loop(1, -1, _nothing))) == 1


def test_figures_of_a_stretch() -> None:
    """A rate is operations by the whole time, a percentile one of the latencies in ms, and process time is shared out."""
    stretch = Stretch([0.3, 0.1, 0.2], 2.0, 0.6)

    assert stretch.rate("r") == {"name": "r", "unit": "/s", "value": 1.5, "operations": 3, "cpu_us": pytest.approx(2e5)}
    assert stretch.rate("r", 6)["value"] == 3.0
    assert stretch.latency("l", 0.5)["value"] == pytest.approx(200)


def test_a_peer_prints_what_the_runner_reads(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The program hands its folder and size to the workload and prints its figures as JSON; it names what it has if asked for else."""

    async def workload(folder: Path, scale: float) -> Figures:
        return [{"name": folder.name, "unit": "/s", "value": scale}]

    run({"call": workload}, "call", str(tmp_path / "here"), "0.5")

    assert json.loads(capsys.readouterr().out) == {"figures": [{"name": "here", "unit": "/s", "value": 0.5}], "foreign_cpu": []}
    with pytest.raises(SystemExit, match="no workload 'steps'; it has call"):
        run({"call": workload}, "steps", str(tmp_path), "1")
