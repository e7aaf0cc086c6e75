"""Results are kept, compared, put together and shown as documented: in the terminal's table and in Markdown."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.__main__ import main
from benchmarks.figures import Figure, gain, in_commits
from benchmarks.markdown import BEGIN, END, figure_tables, target_table, write_into
from benchmarks.report import number, show
from benchmarks.results import Results
from benchmarks.targets import TARGETS, target_of

from .helpers import results

_UNITS = ("/s", "ms", "s", "MB", "x")
_positive = st.floats(1e-6, 1e12)


def test_saved_results_are_read_back_as_they_were(tmp_path: Path) -> None:
    """Loading a saved file gives equal results."""
    kept = results(rate=100.0, duration=2.0)

    kept.save(tmp_path / "results.json")

    assert Results.load(tmp_path / "results.json") == kept


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"format": 0}', '{"format": 2}', '{"format": 2, "workloads": 3}'])
def test_a_file_of_something_else_is_refused(content: str, tmp_path: Path) -> None:
    """A file that holds no results is refused by an error that names it."""
    (tmp_path / "other.json").write_text(content)

    with pytest.raises(ValueError, match=r"other\.json"):
        Results.load(tmp_path / "other.json")


def test_gains_are_above_one_when_better_whatever_the_unit() -> None:
    """A doubled rate and a halved duration are both a gain of two, and figures that only one side has are left out."""
    before, now = results(rate=100.0, duration=2.0), results(rate=200.0, duration=1.0)
    del before.workloads["only-now"]

    assert now.gains(before) == {("shared", "256 clients"): 2.0, ("shared", "a duration"): 2.0}


def test_the_table_is_whole_when_piped() -> None:
    """In a stream that is no terminal each figure is one line that holds its name, median, target and commits an operation."""
    stream = io.StringIO()

    show(results(workload="signals-single", rate=12_345.0, duration=0.5), None, stream)

    row = next(line for line in stream.getvalue().splitlines() if line.startswith("signals-single"))
    assert "256 clients" in row
    assert "12,345 /s" in row
    assert "25,000 /s MISSED" in row
    assert row.split()[-1] == "0.5"


def test_a_disk_in_memory_is_pointed_out() -> None:
    """Results from a file system in memory carry a warning, since nothing was durable."""
    found, stream = results(rate=1.0, duration=1.0), io.StringIO()
    found.machine["file_system"] = "tmpfs"

    show(found, None, stream)

    assert "nothing here was durable" in stream.getvalue()


@pytest.mark.parametrize(("rate", "answer"), [(25_000.0, "yes"), (24_999.0, "**no**")])
def test_each_target_has_its_row(rate: float, answer: str) -> None:
    """The table of targets has a row for each, in order; it says whether the median reaches it, and which were not run."""
    rows = target_table(results(workload="signals-single", rate=rate, duration=1.0)).splitlines()[2:]

    assert [row.split(" | ")[0].removeprefix("| ") for row in rows] == [target.what for target in TARGETS]
    assert f"| {answer} |" in rows[0]
    assert all("| not run |" in row for row in rows[1:])


def test_the_ratio_to_the_peer_is_above_one_when_better() -> None:
    """A rate of three times the peer's, and a third of the peer's time, are both shown as three times better."""
    rates = target_table(results(workload="signals-single", rate=3333.0, duration=1.0)).splitlines()[2]
    found = results(workload="steps", rate=1.0, duration=4.2)
    found.workloads["steps"].figures[1] = evolve(found.workloads["steps"].figures[1], name="10,000 activities")
    times = next(row for row in target_table(found).splitlines() if "as many one-put commits" in row)

    assert rates.endswith("| 3.00 x |")
    assert times.endswith("| 3.00 x |")


def test_a_smaller_run_reaches_no_target() -> None:
    """However fast a run below full size was, the table of targets does not say that a target was reached."""
    found = results(workload="signals-single", rate=1e9, duration=1.0, scale=0.5)

    assert "| not at full size |" in target_table(found).splitlines()[2]


def test_a_target_belongs_to_one_figure() -> None:
    """No figure has two targets, and one that has none gets none."""
    assert len({(target.workload, target.figure) for target in TARGETS}) == len(TARGETS)
    assert target_of("signals-single", "256 clients") == 25_000
    assert target_of("signals-single", "no such figure") is None


def test_figures_stand_under_their_command() -> None:
    """Figures of two calls of the program stand in two tables, each under its own command."""
    one = results(workload="first", rate=1.0, duration=1.0, command="python -m benchmarks first")
    two = results(workload="second", rate=2.0, duration=1.0, command="python -m benchmarks second")

    parts = figure_tables(one.merged(two)).split("`python -m benchmarks ")

    assert [part.partition("`")[0] for part in parts[1:]] == ["first", "second"]
    assert "| first |" in parts[1]
    assert "| second |" in parts[2]
    assert "| only-now |" in parts[2]


def test_of_two_results_of_a_workload_the_later_counts() -> None:
    """Results that are put together have the workloads of both, and the later figures of what both have."""
    found = results(workload="first", rate=1.0, duration=1.0).merged(results(workload="second", rate=2.0, duration=1.0))

    rates = {name: result.figures[0].median for name, result in found.workloads.items()}
    assert rates == {"first": 1.0, "second": 2.0, "only-now": 2.0}


def test_results_of_two_machines_are_not_put_together() -> None:
    """Results of another processor are refused by an error that names both."""
    here, there = results(rate=1.0, duration=1.0), results(rate=1.0, duration=1.0)
    there.machine["processor"] = "q"

    with pytest.raises(ValueError, match="processor 'p' and 'q'"):
        here.merged(there)


def test_tables_go_between_the_marks(tmp_path: Path) -> None:
    """What stands between the marks of a file is replaced, however often, and nothing else of it."""
    file = tmp_path / "RESULTS.md"
    file.write_text(f"before\n{BEGIN}\nold figures\n{END}\nafter\n")
    found = results(rate=1.0, duration=1.0)

    write_into(file, found)
    once = file.read_text()
    write_into(file, found)

    assert file.read_text() == once
    assert once.startswith(f"before\n{BEGIN}\n")
    assert once.endswith(f"{END}\nafter\n")
    assert target_table(found) in once
    assert figure_tables(found) in once
    assert "old figures" not in once


@pytest.mark.parametrize("text", ["", BEGIN, END, f"{END}{BEGIN}"])
def test_a_file_without_both_marks_is_left_alone(text: str, tmp_path: Path) -> None:
    """A file that has not both marks in their order is refused by an error that names it, and stays as it is."""
    file = tmp_path / "RESULTS.md"
    file.write_text(text)

    with pytest.raises(ValueError, match=r"RESULTS\.md"):
        write_into(file, results(rate=1.0, duration=1.0))

    assert file.read_text() == text


def test_results_has_a_place_for_the_figures() -> None:
    """The project's own page of results has both marks, in their order."""
    text = (Path(__file__).parents[2] / "benchmarks" / "RESULTS.md").read_text()

    assert 0 <= text.find(BEGIN) < text.find(END)


def test_show_runs_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """``--show`` puts files together, prints their figures and the table of targets, and runs no workload."""
    results(workload="signals-single", rate=30_000.0, duration=1.0).save(tmp_path / "a.json")
    results(workload="call", rate=1.0, duration=1.0).save(tmp_path / "b.json")

    status = main(["targets", "--show", str(tmp_path / "a.json"), str(tmp_path / "b.json"), "--folder", str(tmp_path / "runs")])

    out = capsys.readouterr().out
    assert status == 0
    assert "signals-single" in out
    assert "30,000 /s |  | yes |" in out
    assert not (tmp_path / "runs").exists()


def test_against_prints_ratios(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """``--against`` adds a column with the ratio to the earlier figure, and says that the sizes differ."""
    now, before = tmp_path / "now.json", tmp_path / "before.json"
    results(rate=300.0, duration=1.0).save(now)
    results(rate=100.0, duration=1.0, scale=0.5).save(before)

    main(["--show", str(now), "--against", str(before)])

    out = capsys.readouterr().out
    row = next(line for line in out.splitlines() if line.startswith("shared"))
    assert out.splitlines()[0].split()[-1] == "gain"
    assert row.split()[-1] == "3.00x"
    assert "another size" in out


def test_show_has_the_named_workloads_only(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """``--show`` with names shows these workloads and no others; files that have none of them are refused."""
    file = tmp_path / "a.json"
    results(workload="call", rate=1.0, duration=1.0).merged(results(workload="steps", rate=1.0, duration=1.0)).save(file)

    main(["call", "--show", str(file)])
    shown = capsys.readouterr().out
    with pytest.raises(SystemExit):
        main(["cold", "--show", str(file)])

    assert "call " in shown
    assert "steps" not in shown
    assert "results of cold" in capsys.readouterr().err


@given(seconds=_positive, commit=_positive, unit=st.sampled_from(["ms", "s"]))
def test_a_duration_in_commits_depends_on_no_unit(seconds: float, commit: float, unit: str) -> None:
    """A duration is as many commits, whether it is given in seconds or in milliseconds, and so is its limit."""
    value = seconds * {"ms": 1e3, "s": 1.0}[unit]

    ratio = in_commits(Figure("p50", unit, value, lmdb=value / 2), commit)

    assert ratio.unit == "x"
    assert ratio.value == pytest.approx(seconds / commit)
    assert ratio.lmdb == pytest.approx(seconds / commit / 2)
    assert ratio.bare is None


@given(before=_positive, now=_positive, unit=st.sampled_from(_UNITS))
def test_a_gain_turned_round_is_its_inverse(before: float, now: float, unit: str) -> None:
    """Whatever the unit, what was gained is lost again on the way back, and equal figures gain nothing."""
    assert gain(unit, before, now) * gain(unit, now, before) == pytest.approx(1)
    assert gain(unit, now, now) == 1


@pytest.mark.parametrize(
    ("value", "text"), [(1234.5, "1,234"), (99.94, "99.9"), (1.234, "1.23"), (0.001234, "0.00123"), (0.0, "0")]
)
def test_numbers_have_three_digits(value: float, text: str) -> None:
    """Numbers are shown with about three digits, however large they are."""
    assert number(value) == text


def test_gain_of_a_duration_of_nothing_is_infinite() -> None:
    """A figure that has become 0 where less is better does not divide by zero."""
    assert gain("s", 1.0, 0.0) == float("inf")
