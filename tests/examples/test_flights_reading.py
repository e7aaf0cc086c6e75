"""The flights example reads what it can use, and says of the rest where it is and what is wrong."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from examples.flights.reading import COLUMNS, FileProblem, read_flights

from .helpers import january, run

HEADER = ",".join(COLUMNS)
GOOD = "2013-01-01T05:15,UA,1545,N14228,EWR,IAH,1400,2"


def written(folder: Path, *lines: str) -> Path:
    path = folder / "flights.csv"
    path.write_text("\n".join(lines) + "\n")
    return path


def test_only_flown_flights_are_flights(tmp_path: Path) -> None:
    """Rows without a departure delay or a tail number are counted as rows and left out."""
    path = written(
        tmp_path, HEADER, GOOD, "2013-01-01T05:29,UA,1714,,LGA,IAH,1416,4", "2013-01-01T05:40,AA,1141,N619AA,JFK,MIA,1089,"
    )

    file = read_flights(path)

    assert (file.rows, [flight.id for flight in file.flights]) == (3, ["2013-01-01T05:15 UA1545 EWR"])


def test_a_gzipped_file_is_read_like_a_plain_one(tmp_path: Path) -> None:
    """The same rows give the same flights, gzipped or not, whatever the file is called."""
    plain = january(tmp_path, 50)
    gzipped = tmp_path / "no-ending"
    gzipped.write_bytes(gzip.compress(plain.read_bytes()))

    assert read_flights(gzipped).flights == read_flights(plain).flights != []


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("2013-01-01T05:15,UA,1546,N14228,EWR,IAH,far,2", "distance_miles is a whole number, not 'far'"),
        ("2013-01-01T05:15,UA,1546,N14228,EWR,IAH,-1,2", "distance_miles is 0 or more, not -1"),
        ("2013-01-01T05:15,UA,1546,N14228,EWR,IAH,1400,soon", "departure_delay_minutes is a whole number, not 'soon'"),
        ("2013-01-01T05:15,UA,1546,N14228,,IAH,1400,2", "origin is a text of 1 to 40 printable characters, not ''"),
        ("2013-01-01T05:15,UA,1546,N14228,EWR,EWR,1400,2", "origin and destination are both EWR"),
        ("2013-01-01T05:15,UA,1546,N14228,EWR,IAH,1400", "it has 7 fields, and the header has 8"),
        (GOOD, "it is the same flight as line 2: 2013-01-01T05:15 UA1545 EWR"),
    ],
)
def test_a_row_that_does_not_fit_is_refused_with_its_line(tmp_path: Path, line: str, said: str) -> None:
    """The message names the file, the line, and what is wrong with which value."""
    path = written(tmp_path, HEADER, GOOD, line)

    with pytest.raises(FileProblem) as caught:
        read_flights(path)

    assert str(caught.value) == f"{path}, line 3: {said}"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "line 1: the header lacks scheduled, carrier"),
        (b"scheduled,carrier\n", "line 1: the header lacks flight, tail_number"),
        (HEADER.encode() + b"\n", "holds no flown flight"),
        (b"\xff\xfe\n", "cannot be read"),
        (gzip.compress(HEADER.encode() * 50)[:-20], "cannot be read"),
    ],
)
def test_a_file_of_something_else_is_refused(tmp_path: Path, content: bytes, said: str) -> None:
    """A file that is empty, lacks columns or flights, is no text or is cut off is refused, and the message names it."""
    path = tmp_path / "file"
    path.write_bytes(content)

    with pytest.raises(FileProblem) as caught:
        read_flights(path)

    assert said in str(caught.value)
    assert str(path) in str(caught.value)


def test_the_program_refuses_a_missing_file(tmp_path: Path) -> None:
    """It says which file there is not, on standard error, exits with 2, and makes no hub."""
    status, out, err = run(tmp_path / "nothing.csv", "--storage", tmp_path / "hub")

    assert (status, out) == (2, "")
    assert err.strip() == f"error: there is no file {tmp_path / 'nothing.csv'}"
    assert not (tmp_path / "hub").exists()
