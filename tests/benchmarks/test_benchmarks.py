"""The benchmarks work: each workload runs and checks its results, and their results are kept and compared as documented."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import lmdb
import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.__main__ import main
from benchmarks.definitions import Account
from benchmarks.lmdb_alone import commit_seconds, one_put_seconds
from benchmarks.machine import file_system
from benchmarks.measuring import Run, check, closed_loop, percentile
from benchmarks.recording import TableShape
from benchmarks.registry import WORKLOADS, chosen
from benchmarks.results import FORMAT
from benchmarks.runner import RunFailed, Settings, run_once
from benchmarks.targets import TARGETS, with_targets
from examples.flights.program import JANUARY

_TINY = 0.0005
_UNITS = {"/s", "ms", "s", "MB", "x"}
_positive = st.floats(1e-6, 1e12)


@pytest.mark.parametrize("name", WORKLOADS)
async def test_each_workload_gives_figures_of_right_results(name: str, tmp_path: Path) -> None:
    """A tiny run of the workload passes its own check of the results, gives positive figures in known units, and all that have targets."""
    run = Run(tmp_path, _TINY, JANUARY)

    figures = await WORKLOADS[name].run(run)

    assert figures
    assert len({figure.name for figure in figures}) == len(figures)
    assert all(figure.value > 0 and figure.unit in _UNITS for figure in figures)
    assert all(limit is None or limit > 0 for figure in figures for limit in (figure.lmdb, figure.bare))
    assert all(0 <= share <= 1 for share in run.foreign_cpu)
    units = {figure.name: figure.unit for figure in figures}
    for target in TARGETS:
        if target.workload == name:
            assert units[target.figure] == target.unit
            assert target.peer is None or units[target.peer.figure or target.figure] == target.peer.unit


def test_a_run_leaves_nothing_behind(tmp_path: Path) -> None:
    """The folder in which runs get their folders is empty after a run."""
    run_once("fanout", Settings(tmp_path, scale=_TINY))

    assert list(tmp_path.iterdir()) == []


def test_a_failed_run_gives_no_figures(tmp_path: Path) -> None:
    """A process that ends with an error is an error of the run, and not a run without figures."""
    with pytest.raises(RunFailed, match="no-such-workload"):
        run_once("no-such-workload", Settings(tmp_path, scale=_TINY))


def test_another_program_can_be_measured(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """``--program`` calls that program with a workload, a folder and a size; its figures are kept, without our targets and paths."""
    program, file = tmp_path / "peer.py", tmp_path / "results.json"
    program.write_text(
        "import json, os, sys\n"
        "name, folder, scale = sys.argv[1:]\n"
        "assert name == 'signals-single' and os.listdir(folder) == [] and scale == '1.0'\n"
        "print(json.dumps({'figures': [{'name': '256 clients', 'unit': '/s', 'value': 7.0}], 'foreign_cpu': []}))\n"
    )
    command = ["--program", f"{sys.executable} {program}", "--json", str(file), "--folder", str(tmp_path / "runs")]

    assert main(["signals-single", "--runs", "1", *command]) == 0

    kept = json.loads(file.read_text())["workloads"]["signals-single"]
    assert kept["command"] == f"python -m benchmarks signals-single --runs 1 --program '{Path(sys.executable).name} peer.py'"
    assert [(figure["name"], figure["median"], figure["target"]) for figure in kept["figures"]] == [("256 clients", 7.0, None)]
    assert "MISSED" not in capsys.readouterr().out


def test_a_wrong_result_stops_the_run() -> None:
    """A result that is not the expected one raises an error that shows both."""
    with pytest.raises(RuntimeError, match="the sum: 1 instead of 2"):
        check("the sum", 1, 2)


def test_the_file_has_the_documented_shape(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What ``--json`` writes has every documented key, one value a run, the median among its bounds, no targets below full size, and the command without this machine's files."""
    file = tmp_path / "results.json"

    status = main(["fanout", "--runs", "2", "--scale", str(_TINY), "--json", str(file), f"--folder={tmp_path / 'runs'}"])

    assert status == 0
    content: dict[str, Any] = json.loads(file.read_text())
    assert content["format"] == FORMAT
    assert set(content["machine"]) == {"date", "cpu_count", "processor", "system", "python", "versions", "file_system"}
    assert set(content["workloads"]) == {"fanout"}
    assert set(content["workloads"]["fanout"]) == {"measures", "command", "date", "scale", "foreign_cpu", "figures"}
    assert content["workloads"]["fanout"]["command"] == f"python -m benchmarks fanout --runs 2 --scale {_TINY}"
    assert content["workloads"]["fanout"]["scale"] == _TINY
    figure = content["workloads"]["fanout"]["figures"][0]
    assert set(figure) == {
        "name", "unit", "median", "min", "max", "values", "target", "lmdb", "bare", "operations", "cpu_us", "commits",
    }  # fmt: skip
    assert len(figure["values"]) == 2
    assert figure["min"] <= figure["median"] <= figure["max"]
    assert figure["target"] is None
    assert "fanout" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (["no-such"], "no workload 'no-such'"),
        (["--runs", "0"], "above 0"),
        (["--scale", "-1"], "above 0"),
        (["fanout", "--against", "/does/not/exist"], "/does/not/exist"),
        (["fanout", "--show", "/does/not/exist"], "/does/not/exist"),
        (["fanout", "--into", "/does/not/exist"], "/does/not/exist"),
        (["--show", "/does/not/exist", "--runs", "3"], "no use for --runs"),
        (["flights-year"], "--flights FILE"),
        (["flights-year", "--flights", "/does/not/exist"], "/does/not/exist"),
    ],
)
def test_a_wrong_command_says_what_is_wrong(command: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A wrong name, number or file ends the program with status 2 and a message about it, before anything runs."""
    with pytest.raises(SystemExit) as ended:
        main(command)

    assert ended.value.code == 2
    assert said in capsys.readouterr().err


def test_list_names_every_workload(capsys: pytest.CaptureFixture[str]) -> None:
    """``--list`` prints a line for each workload, with its name first."""
    assert main(["--list"]) == 0

    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == list(WORKLOADS)


def test_without_names_all_are_chosen_that_take_no_minutes() -> None:
    """No names mean every workload but those that run only when asked for; names mean those, once each, in the order given."""
    assert [workload.name for workload in chosen([])] == [name for name, workload in WORKLOADS.items() if not workload.asked_only]
    assert [workload.name for workload in chosen(["steps", "million", "steps"])] == ["steps", "million"]


def test_targets_stands_for_all_that_have_one() -> None:
    """The name ``targets`` means each workload that has a target, and there is such a workload for each."""
    assert [workload.name for workload in chosen(["targets"])] == list(with_targets())


async def test_what_is_recorded_is_what_the_store_has_written(tmp_path: Path) -> None:
    """The recorded batches hold as many commits, puts and deletes as the hub's statistics say."""
    run = Run(tmp_path, _TINY)
    async with run.hub([Account]) as (hub, watch):
        with watch.stretch() as stretch:
            for number in range(20):
                await hub.signal_entity(Account.at(str(number)), Account.deposit, 1)
            await hub.signal_entity(Account.at("3"), "delete")
            await hub.wait_idle()
        statistics = hub.statistics()
        batches = watch.store.batches

    assert stretch.commits == len(batches) == statistics.commits
    assert sum(len(table.puts) for batch in batches for table in batch) == statistics.store.puts
    assert sum(len(table.deletes) for batch in batches for table in batch) == statistics.store.deletes > 0


def test_lmdb_alone_times_the_measured_batches_only(tmp_path: Path) -> None:
    """There is one time for each measured batch, none for those before, and nothing stays on disk."""
    batch = [TableShape("instances", [b"b", b"a"], 10, []), TableShape("inbox", [], 0, [b"a"])]

    taken = commit_seconds(tmp_path / "alone", [batch], [batch, batch])

    assert len(taken) == 2
    assert not (tmp_path / "alone").exists()


def test_lmdb_alone_writes_each_batch_durably(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It opens LMDB without any flag that would weaken a commit."""
    seen: dict[str, Any] = {}
    real = lmdb.open

    def spy(path: str, **options: Any) -> lmdb.Environment:
        seen.update(options)
        return real(path, **options)

    monkeypatch.setattr(lmdb, "open", spy)
    commit_seconds(tmp_path / "alone", [], [])
    one_put_seconds(tmp_path / "one", 1)

    assert not seen.keys() & {"sync", "metasync", "writemap", "map_async"}


def test_one_puts_are_timed_one_by_one(tmp_path: Path) -> None:
    """There is one time for each commit of one put, and nothing stays on disk."""
    taken = one_put_seconds(tmp_path / "alone", 3)

    assert len(taken) == 3
    assert min(taken) > 0
    assert not (tmp_path / "alone").exists()


async def test_a_closed_loop_does_every_operation_once() -> None:
    """Whatever the number of clients, each operation is done once, and each has a latency."""
    done: list[int] = []

    async def operation(number: int) -> None:
        await trio.lowlevel.checkpoint()
        done.append(number)

    latencies = await closed_loop(7, 20, operation)

    assert sorted(done) == list(range(20))
    assert len(latencies) == 20


async def test_a_closed_loop_begins_nothing_after_its_time() -> None:
    """When the time is over no further operation is begun, but the first one always is."""
    done: list[int] = []

    async def operation(number: int) -> None:
        await trio.lowlevel.checkpoint()
        done.append(number)

    await closed_loop(1, 20, operation, seconds=-1)

    assert done == [0]


@given(values=st.lists(_positive, min_size=1), share=st.floats(0, 1))
def test_a_percentile_parts_the_values(values: list[float], share: float) -> None:
    """A percentile is one of the values, and no more than that share of them is below it, for any values in any order."""
    found = percentile(values, share)

    assert found in values
    assert sum(value < found for value in values) <= share * len(values)


def test_percentiles_of_a_hundred() -> None:
    """The median and the 99th percentile of 1 to 100, in falling order, and of one value."""
    values = [float(value) for value in range(100, 0, -1)]

    assert percentile(values, 0.5) == 51
    assert percentile(values, 0.99) == 100
    assert percentile([3.0], 0.99) == 3


def test_the_file_system_of_the_root_is_known(tmp_path: Path) -> None:
    """Where the system lists its mounts, the type of a folder's file system is found."""
    if Path("/proc/mounts").exists():
        assert file_system(tmp_path) != "unknown"
    assert file_system(Path("/proc")) in {"proc", "unknown"}
