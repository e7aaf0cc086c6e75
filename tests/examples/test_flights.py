"""The flights example flies each flight exactly once, also when it is killed, and says so if it did not."""

from __future__ import annotations

import csv
import os
import random
import re
import signal
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
import trio
from attrs import define
from perdure.entities import entity
from perdure.hub import TaskHub
from perdure.orchestration import OrchestrationContext, orchestrator
from perdure.storage.memory_store import MemoryStore

from examples.flights.checking import Outcome, check
from examples.flights.entities import Airport
from examples.flights.figures import figures_of_file, published_for
from examples.flights.log_book import open_log_book
from examples.flights.orchestration import plan_for
from examples.flights.program import HUB_NAME, JANUARY
from examples.flights.reading import FlightFile, read_flights
from examples.flights.running import fly_all

from .helpers import first_flights, january, run, start


async def flown(file: FlightFile, store: MemoryStore, log_book: Path) -> tuple[Outcome, int]:
    """Fly a file in memory; what came of it, and how many flights were said to have landed."""
    landed: list[int] = []
    async with open_log_book(log_book) as book:
        plan = plan_for(book)
        async with TaskHub(HUB_NAME, plan.all, store) as hub:
            crashes = await fly_all(hub, plan, file.flights, landed.append)
            return await check(hub, book, file, crashes), sum(landed)


def ignore(count: int) -> None:
    """Who wants to know how many have landed?"""
    del count


def logged(log_book: Path) -> Counter[tuple[str, ...]]:
    """How often each flight is in a log book: scheduled, carrier, number, origin."""
    with log_book.open(newline="") as file:
        return Counter((row["scheduled"], row["carrier"], row["flight"], row["origin"]) for row in csv.DictReader(file))


def once_each(file: FlightFile) -> Counter[tuple[str, ...]]:
    """What a log book should hold."""
    return Counter((flight.scheduled, flight.carrier, flight.number, flight.origin) for flight in file.flights)


def test_each_flight_of_january_has_an_id_of_its_own() -> None:
    """No two flights of January have the same id, and each id is one that a hub takes."""
    ids = [flight.id for flight in read_flights(JANUARY).flights]

    assert len(set(ids)) == len(ids) == 26_483
    assert all(len(text) <= 256 and text.isprintable() and not text.startswith("@") for text in ids)


def test_january_itself_adds_up_to_what_was_published() -> None:
    """Counted without any hub, January has each of the published totals."""
    file = read_flights(JANUARY)
    published = published_for(file)

    assert len(published) == 9
    assert {name: figure for name, figure in figures_of_file(file).items() if name in published} == published


async def test_each_flight_is_flown_once(tmp_path: Path) -> None:
    """After one run the entities, the log book and the file agree in every figure, ferry flights included."""
    file = first_flights(tmp_path, 600)

    outcome, landed = await flown(file, MemoryStore(), tmp_path / "log.csv")

    assert outcome.faults == []
    assert outcome.columns.keys() == {"entities", "log book", "file"}
    assert outcome.columns["file"]["ferry flights"] != 0
    assert landed == len(file.flights)
    assert logged(tmp_path / "log.csv") == once_each(file)


async def test_flying_again_changes_nothing(tmp_path: Path) -> None:
    """A second run on the same hub and log book ends with the same totals, and the log book stays as it is."""
    file, store = first_flights(tmp_path, 300), MemoryStore()
    first, _ = await flown(file, store, tmp_path / "log.csv")
    written = (tmp_path / "log.csv").read_bytes()

    second, landed = await flown(file, store, tmp_path / "log.csv")

    assert second == first
    assert landed == len(file.flights)
    assert (tmp_path / "log.csv").read_bytes() == written


async def test_a_run_goes_on_where_a_cancelled_one_ended(tmp_path: Path) -> None:
    """Cancelled while hundreds of flights are under way, and run again, each is flown once."""
    file, store = first_flights(tmp_path, 1500), MemoryStore()
    async with open_log_book(tmp_path / "log.csv") as book:
        plan = plan_for(book)
        with trio.CancelScope() as scope:
            async with TaskHub(HUB_NAME, plan.all, store) as hub:
                await fly_all(hub, plan, file.flights, lambda _: scope.cancel())
        assert 0 < len(book) < len(file.flights)

    outcome, _ = await flown(file, store, tmp_path / "log.csv")

    assert outcome.faults == []
    assert logged(tmp_path / "log.csv") == once_each(file)


async def test_flights_left_under_way_are_not_overtaken(tmp_path: Path) -> None:
    """When hundreds of flights were started and none has moved, the next run flies each aircraft in the file's order."""
    file, store = first_flights(tmp_path, 3000), MemoryStore()
    async with open_log_book(tmp_path / "log.csv") as book:
        plan = plan_for(book)
        async with TaskHub(HUB_NAME, plan.all, store, paused=True) as hub, hub.batch() as batch:
            for flight in file.flights[:1600]:
                batch.start(plan.fly, flight, instance_id=flight.id)

    outcome, _ = await flown(file, store, tmp_path / "log.csv")

    assert outcome.faults == []


@entity(name="Airport")
@define
class AuditedAirport(Airport):
    """An airport that an audit can ask."""

    def surplus(self) -> int:
        """How many more flights have left than come in."""
        return self.departures - self.arrivals


@orchestrator
async def audit(ctx: OrchestrationContext, codes: list[str]) -> int:
    """How many more departures than arrivals there are, counted while no flight can move."""
    airports = [AuditedAirport.at(code) for code in codes]
    async with ctx.lock_entities(*airports):
        return sum(await ctx.when_all([ctx.call_entity(airport, AuditedAirport.surplus) for airport in airports]))


async def test_nobody_sees_a_flight_half_done(tmp_path: Path) -> None:
    """Whoever locks all airports while flights are under way finds as many arrivals as departures."""
    file = first_flights(tmp_path, 600)
    codes = sorted({code for flight in file.flights for code in (flight.origin, flight.destination)})
    async with open_log_book(tmp_path / "log.csv") as book:
        plan = plan_for(book)
        definitions = [AuditedAirport if each is Airport else each for each in plan.all]
        async with TaskHub(HUB_NAME, [*definitions, audit], MemoryStore()) as hub, trio.open_nursery() as nursery:
            nursery.start_soon(fly_all, hub, plan, file.flights, ignore)
            audits = [await hub.start(audit, codes) for _ in range(20)]
            differences = [await each.result() for each in audits]

    assert differences == [0] * len(audits)


async def test_a_flight_that_failed_is_named(tmp_path: Path) -> None:
    """A flight that does not end well is reported by its id, and makes the outcome a fault."""
    file = first_flights(tmp_path, 20)
    async with open_log_book(tmp_path / "log.csv") as book:
        plan = plan_for(book)
        async with TaskHub(HUB_NAME, plan.all, MemoryStore(), paused=True) as hub:
            unlucky = file.flights[3]
            await hub.start(plan.fly, unlucky, instance_id=unlucky.id)
            await hub.terminate(unlucky.id, "grounded")
            hub.unpause()
            crashes = await fly_all(hub, plan, file.flights, ignore)
            outcome = await check(hub, book, file, crashes)

    assert [crash.flight for crash in crashes] == [unlucky]
    assert any(unlucky.id in fault and "grounded" in fault for fault in outcome.faults)


# --- the program


def test_the_program_flies_a_file_and_sees_when_all_is_done(tmp_path: Path) -> None:
    """It exits with 0, prints the totals and its speed and no control characters in a pipe; run again it flies nothing."""
    file = january(tmp_path, 400)

    status, out, err = run(file, "--storage", tmp_path / "hub")
    again = run(file, "--storage", tmp_path / "hub")

    assert (status, err) == (0, "")
    assert re.search(r"flights flown( +\d+){3}", out)
    assert re.search(r"\d+ flights in [\d.]+ s: [\d,]+ flights/s", out)
    assert "\x1b" not in out
    assert "\r" not in out
    assert again[0] == 0
    assert "flown before" in again[1]


def test_a_wrong_total_is_told_by_the_exit_status(tmp_path: Path) -> None:
    """One departure more in the hub than in the file, and the program names the totals that differ and exits with 1."""
    file = january(tmp_path, 100)
    assert run(file, "--storage", tmp_path / "hub")[0] == 0

    async def count_one_more() -> None:
        async with TaskHub(HUB_NAME, [Airport], tmp_path / "hub") as hub:
            await hub.call_entity(Airport.at("JFK"), Airport.depart)

    trio.run(count_one_more)
    status, out, _ = run(file, "--storage", tmp_path / "hub")

    assert status == 1
    assert "these totals differ: from JFK" in out


def without_the_last(lines: list[str]) -> list[str]:
    return lines[:-1]


def with_the_last_again(lines: list[str]) -> list[str]:
    return [*lines, f"another{lines[-1]}"]


@pytest.mark.parametrize(("change", "fault"), [(without_the_last, "missing"), (with_the_last_again, "more than once")])
def test_a_wrong_log_book_is_told_by_the_exit_status(
    tmp_path: Path, change: Callable[[list[str]], list[str]], fault: str
) -> None:
    """A line taken out of the log book, or a flight in it twice, is found and makes the program exit with 1."""
    file = january(tmp_path, 100)
    assert run(file, "--storage", tmp_path / "hub")[0] == 0
    log_book = tmp_path / "hub" / "log-book.csv"
    log_book.write_text("".join(change(log_book.read_text().splitlines(keepends=True))))

    status, out, _ = run(file, "--storage", tmp_path / "hub")

    assert status == 1
    assert fault in out


def size_of(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def test_killed_again_and_again_it_ends_with_the_same_totals(tmp_path: Path) -> None:
    """Killed with SIGKILL wherever it happens to be and started again until it is done, it has flown and logged each flight once."""
    path = january(tmp_path, 2500)
    log_book = tmp_path / "hub" / "log-book.csv"
    wanted = once_each(read_flights(path))
    dice = random.Random(7)
    killed_at: list[int] = []
    for _ in range(7):
        child = start(path, "--storage", tmp_path / "hub")
        assert child.stdout is not None
        child.stdout.readline()
        enough = size_of(log_book) + dice.randrange(30_000)
        while child.poll() is None and size_of(log_book) < enough:
            os.sched_yield()
        child.kill()
        child.communicate(timeout=60)
        if child.returncode == -signal.SIGKILL:
            killed_at.append(logged(log_book).total() if log_book.exists() else 0)

    status, out, err = run(path, "--storage", tmp_path / "hub")

    assert len(killed_at) >= 3
    assert any(0 < flights < wanted.total() for flights in killed_at), "it was killed in the midst"
    assert (status, err) == (0, ""), out
    assert logged(log_book) == wanted


def test_ctrl_c_ends_it_in_good_order(tmp_path: Path) -> None:
    """At SIGINT it says that it goes on next time and exits with 130; the next run ends with all totals right."""
    path = january(tmp_path, 2000)
    child = start(path, "--storage", tmp_path / "hub")
    assert child.stdout is not None
    for _ in range(3):
        child.stdout.readline()
    child.send_signal(signal.SIGINT)
    out, err = child.communicate(timeout=60)

    assert (child.returncode, err) == (130, "")
    assert out.splitlines()[-1].startswith("interrupted")
    assert run(path, "--storage", tmp_path / "hub")[0] == 0


def test_a_hub_of_another_file_is_refused_unless_it_is_begun_anew(tmp_path: Path) -> None:
    """A log book with flights that the file does not have is refused with status 2 before anything is flown; --fresh helps."""
    many, few = january(tmp_path, 120), january(tmp_path, 60)
    assert run(many, "--storage", tmp_path / "hub")[0] == 0
    before = (tmp_path / "hub" / "log-book.csv").read_bytes()

    status, _, err = run(few, "--storage", tmp_path / "hub")

    assert status == 2
    assert "another file" in err
    assert (tmp_path / "hub" / "log-book.csv").read_bytes() == before
    assert run(few, "--storage", tmp_path / "hub", "--fresh")[0] == 0


def test_begin_anew_deletes_nothing_but_a_hub(tmp_path: Path) -> None:
    """--fresh leaves a folder alone that has the hub's name and holds something else."""
    precious = tmp_path / "hub" / HUB_NAME / "diary.txt"
    precious.parent.mkdir(parents=True)
    precious.write_text("precious")

    status, _, err = run(january(tmp_path, 60), "--storage", tmp_path / "hub", "--fresh")

    assert (status, precious.read_text()) == (2, "precious")
    assert str(precious.parent) in err
