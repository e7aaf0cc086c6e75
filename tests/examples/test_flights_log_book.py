"""The log book of the flights example holds each line once, whatever it lived through."""

from __future__ import annotations

import resource
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from examples.flights.flight import Flight
from examples.flights.log_book import LogBook, LogBookProblem, open_log_book
from examples.flights.log_line import LogLine

NAMES = st.text(st.characters(exclude_categories=("C", "Z")), min_size=1, max_size=5)
FLIGHTS = st.builds(Flight, NAMES, NAMES, NAMES, NAMES, NAMES, NAMES, st.integers(0, 10_000))
LINES = st.lists(st.builds(LogLine, NAMES, FLIGHTS, NAMES | st.just("")), max_size=8, unique_by=lambda line: line.key)


def line(key: str) -> LogLine:
    return LogLine(key, Flight("2013-01-01T05:15", "UA", "1545", "N14228", "EWR", "IAH", 1400), "")


async def write(path: Path, *lines: LogLine) -> list[LogLine]:
    """Write lines at the same time; what the book holds afterwards."""
    async with open_log_book(path) as book:
        async with trio.open_nursery() as nursery:
            for each in lines:
                nursery.start_soon(book.write, each)
        return list(book.lines())


def by_key(lines: list[LogLine]) -> list[LogLine]:
    return sorted(lines, key=lambda line: line.key)


@given(LINES, LINES)
@settings(max_examples=25)
def test_what_was_written_is_there_once_and_read_as_it_was(first: list[LogLine], second: list[LogLine]) -> None:
    """For all lines, written at the same time and over two openings: each key is there once, with the first line it got."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "log.csv"
        trio.run(write, path, *first, *first)
        held = trio.run(write, path, *second, *first)

    expected = {line.key: line for line in [*second, *first]}
    assert by_key(held) == by_key(list(expected.values()))


@given(LINES, st.data())
@settings(max_examples=25)
def test_an_unfinished_end_is_cut_off(lines: list[LogLine], data: st.DataObject) -> None:
    """Wherever the file was cut off, or filled with zeros, whole lines before stay, and writing all again makes it whole."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "log.csv"
        before = trio.run(write, path, *lines)
        whole = path.read_bytes()
        cut = data.draw(st.integers(0, len(whole)))
        path.write_bytes(whole[:cut] + bytes(data.draw(st.sampled_from([0, 7]))))

        kept = trio.run(write, path)
        held = trio.run(write, path, *lines)

    assert kept == before[: max(0, whole[:cut].count(b"\n") - 1)]
    assert by_key(held) == by_key(lines)


def test_a_book_is_open_once(tmp_path: Path) -> None:
    """While a log book is open, opening it again is refused, and changes nothing."""
    book = LogBook(tmp_path / "log.csv")

    with pytest.raises(LogBookProblem, match="in use"):
        LogBook(tmp_path / "log.csv", fresh=True)

    book.close()
    LogBook(tmp_path / "log.csv").close()


@pytest.mark.parametrize("fresh", [False, True])
def test_a_file_that_is_no_log_book_is_left_alone(tmp_path: Path, fresh: bool) -> None:
    """Another file is refused, also when the book is to be begun anew, and stays as it is."""
    path = tmp_path / "diary.txt"
    path.write_text("Dear diary")

    with pytest.raises(LogBookProblem, match="is no log book"):
        LogBook(path, fresh=fresh)

    assert path.read_text() == "Dear diary"


async def test_a_changed_line_is_refused(tmp_path: Path) -> None:
    """A whole line that is none is not taken for an unfinished end: it is refused with its place, and kept."""
    path = tmp_path / "log.csv"
    await write(path, line("a"), line("b"))
    changed = path.read_text().replace("1400", "far", 1)
    path.write_text(changed)

    with pytest.raises(LogBookProblem, match="near line 2"):
        LogBook(path)

    assert path.read_text() == changed


async def write_and_note(path: Path, each: LogLine, returned: list[str]) -> None:
    async with open_log_book(path) as book:
        await book.write(each)
        returned.append(each.key)


async def test_a_full_disk_tells_no_writer_and_leaves_whole_lines(tmp_path: Path) -> None:
    """When a line cannot be written the block ends with the reason, no writer returns, and the next opening goes on."""
    path = tmp_path / "log.csv"
    await write(path, line("a"))
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    returned: list[str] = []
    resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + 10, limits[1]))
    try:
        with pytest.raises(LogBookProblem, match="cannot be written"):
            await write_and_note(path, line("b"), returned)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)

    assert returned == []
    assert [held.key for held in await write(path)] == ["a"]
    assert [held.key for held in await write(path, line("b"))] == ["a", "b"]
