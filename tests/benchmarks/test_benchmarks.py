"""The benchmarks work: each workload runs and checks its results, and their results are kept and compared as documented."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import lmdb
import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.__main__ import main
from benchmarks.definitions import Account
from benchmarks.figures import Figure, gain
from benchmarks.lmdb_alone import commit_seconds
from benchmarks.machine import file_system
from benchmarks.measuring import Run, check, closed_loop, percentile
from benchmarks.recording import TableShape
from benchmarks.registry import WORKLOADS, chosen
from benchmarks.report import number, show
from benchmarks.results import FORMAT, Results, WorkloadResult, summarize
from benchmarks.runner import RunFailed, run_once

_TINY = 0.002
_UNITS = {"/s", "ms", "s", "MB", "x"}
_positive = st.floats(1e-6, 1e12)


@pytest.mark.parametrize("name", WORKLOADS)
def test_each_workload_gives_figures_of_right_results(name: str, tmp_path: Path) -> None:
    """A tiny run of the workload passes its own check of the results, and every figure is a positive number in a known unit."""
    figures, foreign = run_once(name, tmp_path, _TINY)

    assert figures
    assert len({figure.name for figure in figures}) == len(figures)
    assert all(figure.value > 0 and figure.unit in _UNITS for figure in figures)
    assert all(limit is None or limit > 0 for figure in figures for limit in (figure.lmdb, figure.bare))
    assert all(0 <= share <= 1 for share in foreign)


def test_a_run_leaves_nothing_behind(tmp_path: Path) -> None:
    """The folder in which runs get their folders is empty after a run."""
    run_once("fanout", tmp_path, _TINY)

    assert list(tmp_path.iterdir()) == []


def test_a_failed_run_gives_no_figures(tmp_path: Path) -> None:
    """A process that ends with an error is an error of the run, and not a run without figures."""
    with pytest.raises(RunFailed, match="no-such-workload"):
        run_once("no-such-workload", tmp_path, _TINY)


def test_a_wrong_result_stops_the_run() -> None:
    """A result that is not the expected one raises an error that shows both."""
    with pytest.raises(RuntimeError, match="the sum: 1 instead of 2"):
        check("the sum", 1, 2)


def test_the_file_has_the_documented_shape(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What ``--json`` writes has every documented key, one value a run, the median among its bounds, and no targets below full size."""
    file = tmp_path / "results.json"

    status = main(["fanout", "--runs", "2", "--scale", str(_TINY), "--json", str(file), "--folder", str(tmp_path / "runs")])

    assert status == 0
    content: dict[str, Any] = json.loads(file.read_text())
    assert content["format"] == FORMAT
    assert set(content["machine"]) == {"date", "cpu_count", "processor", "system", "python", "versions", "file_system"}
    assert content["settings"] == {"runs": 2, "scale": _TINY}
    assert set(content["workloads"]) == {"fanout"}
    assert set(content["workloads"]["fanout"]) == {"measures", "foreign_cpu", "figures"}
    figure = content["workloads"]["fanout"]["figures"][0]
    assert set(figure) == {
        "name", "unit", "median", "min", "max", "values", "target", "lmdb", "bare", "operations", "cpu_us", "commits",
    }  # fmt: skip
    assert len(figure["values"]) == 2
    assert figure["min"] <= figure["median"] <= figure["max"]
    assert figure["target"] is None
    assert "fanout" in capsys.readouterr().out


def test_saved_results_are_read_back_as_they_were(tmp_path: Path) -> None:
    """Loading a saved file gives equal results."""
    results = _results(rate=100.0, duration=2.0)

    results.save(tmp_path / "results.json")

    assert Results.load(tmp_path / "results.json") == results


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"format": 0}', '{"format": 1}', '{"format": 1, "workloads": 3}'])
def test_a_file_of_something_else_is_refused(content: str, tmp_path: Path) -> None:
    """A file that holds no results is refused by an error that names it."""
    (tmp_path / "other.json").write_text(content)

    with pytest.raises(ValueError, match=r"other\.json"):
        Results.load(tmp_path / "other.json")


def test_gains_are_above_one_when_better_whatever_the_unit() -> None:
    """A doubled rate and a halved duration are both a gain of two, and figures that only one side has are left out."""
    before, now = _results(rate=100.0, duration=2.0), _results(rate=200.0, duration=1.0)
    del before.workloads["only-now"]

    assert now.gains(before) == {("shared", "a rate"): 2.0, ("shared", "a duration"): 2.0}


def test_against_prints_ratios(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """``--against`` adds a column with the ratio to the earlier figure, and says that the sizes differ."""
    file = tmp_path / "before.json"
    command = ["fanout", "--runs", "1", "--folder", str(tmp_path / "runs")]
    main([*command, "--scale", str(_TINY), "--json", str(file)])
    before = json.loads(file.read_text())
    for figure in before["workloads"]["fanout"]["figures"]:
        figure["median"] = 1e9
    file.write_text(json.dumps(before))
    capsys.readouterr()

    main([*command, "--scale", str(2 * _TINY), "--against", str(file)])

    out = capsys.readouterr().out
    row = next(line for line in out.splitlines() if line.startswith("fanout"))
    assert "gain" in out.splitlines()[0]
    assert float(row.split()[-1].removesuffix("x")) > 1e6
    assert "another size" in out


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (["no-such"], "no workload 'no-such'"),
        (["--runs", "0"], "above 0"),
        (["--scale", "-1"], "above 0"),
        (["fanout", "--against", "/does/not/exist"], "/does/not/exist"),
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


def test_without_names_all_are_chosen() -> None:
    """No names mean every workload, in order; names mean those, in the order given."""
    assert [workload.name for workload in chosen([])] == list(WORKLOADS)
    assert [workload.name for workload in chosen(["steps", "call"])] == ["steps", "call"]


def test_the_table_is_whole_when_piped() -> None:
    """In a stream that is no terminal each figure is one line that holds its name, median and target."""
    stream = io.StringIO()

    show(_results(rate=12_345.0, duration=0.5), None, stream)

    row = next(line for line in stream.getvalue().splitlines() if line.startswith("shared"))
    assert "a rate" in row
    assert "12,345 /s" in row
    assert "20,000 /s MISSED" in row


def test_a_disk_in_memory_is_pointed_out() -> None:
    """Results from a file system in memory carry a warning, since nothing was durable."""
    results, stream = _results(rate=1.0, duration=1.0), io.StringIO()
    results.machine["file_system"] = "tmpfs"

    show(results, None, stream)

    assert "nothing here was durable" in stream.getvalue()


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

    assert not seen.keys() & {"sync", "metasync", "writemap", "map_async"}


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


@given(before=_positive, now=_positive, unit=st.sampled_from(sorted(_UNITS)))
def test_a_gain_turned_round_is_its_inverse(before: float, now: float, unit: str) -> None:
    """Whatever the unit, what was gained is lost again on the way back, and equal figures gain nothing."""
    assert gain(unit, before, now) * gain(unit, now, before) == pytest.approx(1)
    assert gain(unit, now, now) == 1


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


@pytest.mark.parametrize(
    ("value", "text"), [(1234.5, "1,234"), (99.94, "99.9"), (1.234, "1.23"), (0.001234, "0.00123"), (0.0, "0")]
)
def test_numbers_have_three_digits(value: float, text: str) -> None:
    """Numbers are shown with about three digits, however large they are."""
    assert number(value) == text


def test_gain_of_a_duration_of_nothing_is_infinite() -> None:
    """A figure that has become 0 where less is better does not divide by zero."""
    assert gain("s", 1.0, 0.0) == float("inf")


def _results(*, rate: float, duration: float) -> Results:
    figures = [Figure("a rate", "/s", rate, 1.0, 2.0, target=20_000), Figure("a duration", "s", duration)]
    machine = {
        "date": "2000-01-01", "cpu_count": 2, "processor": "p", "system": "s", "python": "3", "versions": {"lmdb": "1"},
        "file_system": "ext4",
    }  # fmt: skip
    workloads = {name: WorkloadResult("one line", 0.0, summarize([figures], targets=True)) for name in ("shared", "only-now")}
    return Results(FORMAT, machine, {"runs": 1, "scale": 1.0}, workloads)
