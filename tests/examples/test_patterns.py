"""Each pattern does what its page says, over days and months of virtual time, and when the hub stops in the middle.

A hub finds activities by their names, so the tests give it stand-ins for those that would go out into the world.
"""

from __future__ import annotations

import pkgutil
import re
import subprocess
import sys
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

import pytest
import trio
from perdure.hub import TaskHub
from perdure.orchestration import OrchestrationCanceled, OrchestrationFailed, TooSlowError, activity
from perdure.storage import tables
from perdure.storage.memory_store import MemoryStore

import examples.patterns
from examples.patterns.aggregator import Region, Station
from examples.patterns.approval import THREE_DAYS, approve
from examples.patterns.billing import Customer, Invoice, Month, bill, months_of, send_invoice, start_billing
from examples.patterns.chaining import CardDeclined, book_trip
from examples.patterns.eternal import keep_tidy
from examples.patterns.fan_out import count_words, frequent_words, list_documents
from examples.patterns.monitor import wait_for_file
from examples.patterns.quote import Quote, best_quote
from examples.patterns.reminder import Cart, Mailbox

ROOT = Path(__file__).parents[2]
PATTERNS = [module.name for module in pkgutil.iter_modules(examples.patterns.__path__)]
HOUR = 3600.0
BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
PATIENCE = 300 * HOUR
"""After so much virtual time a test that is stuck fails."""


def clock() -> int:
    """Trio's clock as the hub's; a virtual one begins with the year 2026."""
    return int(BEGIN.timestamp()) * 1_000_000 + int(trio.current_time() * 1e6)


@asynccontextmanager
async def opened(store: MemoryStore, *definitions: object) -> AsyncGenerator[TaskHub]:
    """A hub on a store that may have been used before."""
    with trio.fail_after(PATIENCE):
        async with TaskHub("Patterns", definitions, store, clock=clock) as hub:
            yield hub


class Log(list[tuple[float, str]]):
    """What happened: after how many hours, and what."""

    def note(self, what: object) -> None:
        self.append((round(trio.current_time() / HOUR, 3), str(what)))

    @property
    def whats(self) -> list[str]:
        return [what for _, what in self]

    @property
    def hours(self) -> list[float]:
        return [hour for hour, _ in self]


# --- chaining


class Trip:
    """A trip's definitions, and what was done; one step may hang, and the card may be declined."""

    def __init__(self, *, hangs: str = "", declined: bool = False) -> None:
        self.log = Log()
        self.ids: dict[str, set[UUID]] = {"flight": set(), "hotel": set()}
        self.hangs = hangs

        @activity
        async def charge_card(card: str, amount: int) -> None:
            await self.step("charge")
            if declined:
                raise CardDeclined("no money")

        self.definitions = [book_trip, charge_card, *map(self.cancelling, self.ids), *map(self.booking, self.ids)]

    def booking(self, what: str) -> object:
        @activity(name=f"book_{what}")
        async def book(booking: UUID, city: str) -> None:
            self.ids[what].add(booking)
            await self.step(f"book {what}")

        return book

    def cancelling(self, what: str) -> object:
        @activity(name=f"cancel_{what}")
        async def cancel(booking: UUID) -> None:
            self.ids[what].add(booking)
            await self.step(f"cancel {what}")

        return cancel

    async def step(self, what: str) -> None:
        self.log.note(what)
        if what == self.hangs:
            await trio.sleep_forever()


async def test_a_trip_that_can_be_paid_is_booked(autojump_clock: object) -> None:
    """Each step is taken once, in order, and nothing is undone."""
    trip = Trip()
    async with opened(MemoryStore(), *trip.definitions) as hub:
        assert await (await hub.start(book_trip, "Lisbon", "1", 900)).result() == "a trip to Lisbon for 900"

    assert trip.log.whats == ["book flight", "book hotel", "charge"]


async def test_a_trip_that_cannot_be_paid_is_undone(autojump_clock: object) -> None:
    """What was booked is cancelled, last first, under the ids that it was booked with; the trip fails with the reason."""
    trip = Trip(declined=True)
    async with opened(MemoryStore(), *trip.definitions) as hub:
        with pytest.raises(OrchestrationFailed) as failed:
            await (await hub.start(book_trip, "Oslo", "1", 900)).result()

    assert failed.value.failure.is_caused_by(CardDeclined)
    assert trip.log.whats == ["book flight", "book hotel", "charge", "cancel hotel", "cancel flight"]
    assert [len(ids) for ids in trip.ids.values()] == [1, 1]


async def test_a_trip_that_is_called_off_is_undone(autojump_clock: object) -> None:
    """Cancelled while its hotel is being booked, a trip undoes the flight, and the hotel, which may have been booked."""
    trip = Trip(hangs="book hotel")
    async with opened(MemoryStore(), *trip.definitions) as hub:
        instance = await hub.start(book_trip, "Rome", "1", 900)
        await trio.sleep(1)
        await instance.cancel()
        with pytest.raises(OrchestrationCanceled):
            await instance.result()

    assert trip.log.whats == ["book flight", "book hotel", "cancel hotel", "cancel flight"]
    assert [len(ids) for ids in trip.ids.values()] == [1, 1]


async def test_a_trip_goes_on_where_the_hub_stopped(autojump_clock: object) -> None:
    """After a restart only the step that was under way is taken again."""
    trip, store = Trip(hangs="charge"), MemoryStore()
    async with opened(store, *trip.definitions) as hub:
        await hub.start(book_trip, "Paris", "1", 900, instance_id="paris")
        await trio.sleep(1)
    trip.hangs = ""
    async with opened(store, *trip.definitions) as hub:
        assert await hub.instance("paris").result() == "a trip to Paris for 900"

    assert trip.log.whats == ["book flight", "book hotel", "charge", "charge"]


# --- fan-out


async def test_words_of_all_documents_are_added_up(tmp_path: Path) -> None:
    """The counts of all files are joined, the most frequent first; this one reads real files in worker threads."""
    (tmp_path / "docs").mkdir()
    (tmp_path / "one.md").write_text("Hubs, entities and entities")
    (tmp_path / "docs" / "two.md").write_text("entities of orchestrations")
    async with opened(MemoryStore(), frequent_words, list_documents, count_words) as hub:
        result = await (await hub.start(frequent_words, str(tmp_path), 10)).result()

    assert result == [("entities", 3), ("orchestrations", 1)]


async def test_a_document_that_cannot_be_read_fails_the_count(tmp_path: Path) -> None:
    """A file that is no text makes the whole count fail, with the reason."""
    (tmp_path / "good.md").write_text("words words")
    (tmp_path / "bad.md").write_bytes(b"\xff\xff")
    async with opened(MemoryStore(), frequent_words, list_documents, count_words) as hub:
        with pytest.raises(OrchestrationFailed) as failed:
            await (await hub.start(frequent_words, str(tmp_path), 10)).result()

    assert failed.value.failure.is_caused_by(UnicodeDecodeError)


async def test_few_documents_are_read_at_a_time(autojump_clock: object) -> None:
    """Of ten documents, each taking an hour, four are read at a time; after a restart those that were done stay done."""
    log, store = Log(), MemoryStore()

    @activity(name="list_documents")
    async def ten(folder: str) -> list[str]:
        return [str(number) for number in range(10)]

    @activity(name="count_words")
    async def count(document: str) -> dict[str, int]:
        log.note(document)
        await trio.sleep(HOUR)
        return {"hello": 1}

    async with opened(store, frequent_words, ten, count) as hub:
        await hub.start(frequent_words, "", 1, instance_id="ten")
        await trio.sleep(1.5 * HOUR)
    async with opened(store, frequent_words, ten, count) as hub:
        assert await hub.instance("ten").result() == [("hello", 10)]

    assert log.hours == [0.0] * 4 + [1.0] * 4 + [1.5] * 4 + [2.5] * 2
    together = [sorted(log.whats[begin:end]) for begin, end in ((0, 4), (4, 8), (8, 12), (12, 14))]
    assert together == [list("0123"), list("4567"), list("4567"), list("89")]


# --- monitor


def arrival(log: Log, hours: float) -> object:
    """A stand-in that sees the file from some hours on."""

    @activity(name="has_arrived")
    async def has_arrived(file: str) -> bool:
        log.note(file)
        return trio.current_time() >= hours * HOUR

    return has_arrived


async def test_a_monitor_waits_longer_and_longer(autojump_clock: object) -> None:
    """It looks after 1, 2, 4, 8, 8, ... hours more, also when the hub was closed and opened again meanwhile."""
    log, store = Log(), MemoryStore()
    seen = arrival(log, 30)
    async with opened(store, wait_for_file, seen) as hub:
        await hub.start(wait_for_file, "x", HOUR, 8 * HOUR, 99 * HOUR, instance_id="x")
        await trio.sleep(10 * HOUR)
        assert (await hub.instance("x").status()).custom_status == {"looked": 4, "next wait": 8 * HOUR}
    async with opened(store, wait_for_file, seen) as hub:
        assert await hub.instance("x").result() == 7

    assert log.hours == [0, 1, 3, 7, 15, 23, 31]


async def test_a_monitor_gives_up(autojump_clock: object) -> None:
    """When its patience is over it fails with TooSlowError at once, in the middle of a wait."""
    log, store = Log(), MemoryStore()
    async with opened(store, wait_for_file, arrival(log, 1000)) as hub:
        with pytest.raises(OrchestrationFailed) as failed:
            await (await hub.start(wait_for_file, "x", HOUR, 8 * HOUR, 20 * HOUR)).result()
        assert trio.current_time() == pytest.approx(20 * HOUR)

    assert failed.value.failure.is_caused_by(TooSlowError)
    assert log.hours == [0, 1, 3, 7, 15]
    assert not store.snapshot()[tables.TIMERS]


# --- approval


def asking(log: Log) -> object:
    """A stand-in that notes who was asked."""

    @activity(name="ask")
    async def ask(approver: str, question: str, instance_id: str) -> None:
        log.note(approver)

    return ask


async def test_an_answer_in_time_decides(autojump_clock: object) -> None:
    """The first approver's answer is the result, nobody else is asked, and no timer is left."""
    log, store = Log(), MemoryStore()
    async with opened(store, approve, asking(log)) as hub:
        instance = await hub.start(approve, "a taxi", ["ann", "bob"], THREE_DAYS)
        await trio.sleep(71 * HOUR)
        await instance.raise_event("answer", {"by": "ann", "approved": True})
        assert await instance.result() == "approved by ann"

    assert log == [(0, "ann")]
    assert not store.snapshot()[tables.TIMERS]


async def test_without_answers_an_expense_is_refused(autojump_clock: object) -> None:
    """After 72 hours the next approver is asked, after 144 the expense is refused."""
    log = Log()
    async with opened(MemoryStore(), approve, asking(log)) as hub:
        instance = await hub.start(approve, "a yacht", ["ann", "bob"], THREE_DAYS)
        assert await instance.result() == "refused, because nobody answered"
        assert trio.current_time() == pytest.approx(144 * HOUR)

    assert log == [(0, "ann"), (72, "bob")]


async def test_a_restart_does_not_prolong_the_time_limit(autojump_clock: object) -> None:
    """Closed from hour 50 to hour 60, the hub escalates in hour 72; the first approver's late answer still counts."""
    log, store = Log(), MemoryStore()
    async with opened(store, approve, asking(log)) as hub:
        await hub.start(approve, "a piano", ["ann", "bob"], THREE_DAYS, instance_id="piano")
        await trio.sleep(50 * HOUR)
    await trio.sleep(10 * HOUR)
    async with opened(store, approve, asking(log)) as hub:
        await trio.sleep(40 * HOUR)
        await hub.raise_event("piano", "answer", {"by": "ann", "approved": False})
        assert await hub.instance("piano").result() == "refused by ann"

    assert log == [(0, "ann"), (72, "bob")]


# --- aggregator


async def test_reports_are_added_up_once(autojump_clock: object) -> None:
    """A report that is sent again, also after a restart, changes nothing; the region knows the latest record."""
    store, station = MemoryStore(), Station.at("harbour")
    for _ in range(2):
        async with opened(store, Station, Region) as hub:
            for number, celsius in enumerate([10.0, 20.0, 15.0], 1):
                await hub.signal_entity(station, Station.report, number, celsius, "north")
            assert await hub.call_entity(station, Station.average) == 15.0
            assert await hub.read_entity(station) == Station(last=3, count=3, total=45.0, highest=20.0)
            await hub.wait_idle()
            assert await hub.read_entity(Region.at("north")) == Region({"harbour": 20.0})


async def test_a_refused_report_leaves_no_trace(autojump_clock: object) -> None:
    """An impossible report is kept as a dead letter, and those before and after it count."""
    station = Station.at("hill")
    async with opened(MemoryStore(), Station, Region) as hub:
        for number, celsius in enumerate([1.0, -300.0, 3.0], 1):
            await hub.signal_entity(station, Station.report, number, celsius, "north")
        await hub.wait_idle()
        state, letters = await hub.read_entity(station), (await hub.dead_letters(station)).items

    assert state == Station(last=3, count=2, total=4.0, highest=3.0)
    assert [letter.failure.is_caused_by(ValueError) for letter in letters] == [True]


# --- eternal


class Sweeps:
    """A stand-in for the sweeping of the eternal orchestration, that takes some time and fails in one round."""

    def __init__(self, *, fails: int = -1, takes: float = 0.0) -> None:
        self.log = Log()

        @activity(name="remove_older_than")
        async def remove(folder: str, seconds: float) -> int:
            number = len(self.log)
            self.log.note(folder)
            await trio.sleep(takes)
            if number == fails:
                raise OSError("no such folder")
            return 1

        self.definitions = [keep_tidy, remove]


async def test_an_eternal_orchestration_goes_on(autojump_clock: object) -> None:
    """It runs every hour, across restarts; its journal is no longer after a hundred hours than after the first."""
    sweeps, store, lengths = Sweeps(), MemoryStore(), list[int]()
    for hours in (0.5, 60, 40):
        async with opened(store, *sweeps.definitions) as hub:
            tidy = await hub.start(keep_tidy, "x", 0.0, HOUR, 0, instance_id="tidy", if_exists="return")
            await trio.sleep(hours * HOUR)
            lengths.append(len(await tidy.history()))
    async with opened(store, *sweeps.definitions) as hub:
        await hub.raise_event("tidy", "stop")
        removed = await hub.instance("tidy").result()

    assert removed == len(sweeps.log) == 101
    assert sweeps.log.hours == [float(hour) for hour in range(101)]
    assert len(set(lengths)) == 1


async def test_a_round_that_fails_does_not_end_the_rest(autojump_clock: object) -> None:
    """A failed round is told in the status, and the next one runs; a stop that comes during a round is not lost."""
    sweeps = Sweeps(fails=1, takes=60.0)
    async with opened(MemoryStore(), *sweeps.definitions) as hub:
        tidy = await hub.start(keep_tidy, "x", 0.0, HOUR, 0)
        await trio.sleep(1.5 * HOUR)
        assert "1 removed; the last round failed" in (await tidy.status()).custom_status
        await trio.sleep(2 * HOUR + 150 - 1.5 * HOUR)  # in the middle of the third round
        await tidy.raise_event("stop")
        assert await tidy.result() == 2


# --- billing


def post(log: Log, *, dies: bool = False) -> object:
    """A stand-in that sends as the real one does, notes it, and may get stuck before its result is kept, the first time."""

    @activity(name="send_invoice")
    async def send(invoice: Invoice, outbox: str) -> None:
        send_invoice.function(invoice, outbox)
        log.note(f"{invoice.number}: {invoice.minutes}")
        if dies and len(log) == 1:
            await trio.sleep_forever()

    return send


SHORT_YEAR = [Month(month.name, BEGIN + timedelta(hours=6) * n) for n, month in enumerate(months_of(2026), 1)]
"""A year whose months last six hours."""


def test_a_month_closes_when_the_next_begins() -> None:
    """A year has twelve months, and each closes at midnight UTC before the first day of the next."""
    months = months_of(2024)

    assert [month.name for month in months] == [f"2024-{number:02}" for number in range(1, 13)]
    assert [(month.closes_at - timedelta(seconds=1)).strftime("%Y-%m") for month in months] == [month.name for month in months]
    assert {month.closes_at.strftime("%d %H:%M:%S %Z") for month in months} == {"01 00:00:00 UTC"}


async def test_a_month_is_closed_once(autojump_clock: object) -> None:
    """Asked again to close a month, a customer answers with the same invoice; what was used since is in the next one."""
    ann = Customer.at("ann")
    async with opened(MemoryStore(), Customer) as hub:
        await hub.call_entity(ann, Customer.use, 7)
        first = await hub.call_entity(ann, Customer.close, "2026-01")
        await hub.call_entity(ann, Customer.use, 5)

        assert await hub.call_entity(ann, Customer.close, "2026-01") == first == Invoice("ann-2026-01", 7)
        assert await hub.call_entity(ann, Customer.close, "2026-02") == Invoice("ann-2026-02", 5)


async def test_each_month_has_its_invoice(autojump_clock: object, tmp_path: Path) -> None:
    """A customer who uses the month's number of minutes each month gets twelve invoices, when the months end."""
    log = Log()
    async with opened(MemoryStore(), Customer, bill, post(log)) as hub:
        year = await start_billing(hub, "ann", 2026, SHORT_YEAR, str(tmp_path))
        for month in range(1, 13):
            await hub.signal_entity(Customer.at("ann"), Customer.use, month)
            await trio.sleep(6 * HOUR + 1)
        assert await year.result() == sum(range(1, 13))

    assert log == [(6.0 * month, f"ann-2026-{month:02}: {month}") for month in range(1, 13)]


async def test_months_that_were_missed_are_made_up_for(autojump_clock: object, tmp_path: Path) -> None:
    """Closed from February into May, the hub sends the invoices of those months when it is open again, each once."""
    log, store = Log(), MemoryStore()
    for _ in range(2):
        async with opened(store, Customer, bill, post(log)) as hub:
            year = await start_billing(hub, "ann", 2026, SHORT_YEAR, str(tmp_path))
            await hub.signal_entity(Customer.at("ann"), Customer.use, 7)
            await trio.sleep(8 * HOUR)
        await trio.sleep(18 * HOUR)
    async with opened(store, Customer, bill, post(log)) as hub:
        year = await start_billing(hub, "ann", 2026, SHORT_YEAR, str(tmp_path))
        assert await year.result() == 14

    assert log.hours == [6, 26, 26, 26, 30, 52, 52, 52, 54, 60, 66, 72]
    assert [what.partition(":")[0] for what in log.whats] == [f"ann-2026-{month:02}" for month in range(1, 13)]


async def test_an_invoice_that_is_sent_again_is_the_same(autojump_clock: object, tmp_path: Path) -> None:
    """When the hub stops between the sending and the record of it, it is sent again, unchanged by what was used since."""
    log, store = Log(), MemoryStore()
    for _ in range(2):
        async with opened(store, Customer, bill, post(log, dies=True)) as hub:
            await start_billing(hub, "ann", 2026, SHORT_YEAR, str(tmp_path))
            await hub.signal_entity(Customer.at("ann"), Customer.use, 7)
            await trio.sleep(7 * HOUR)

    assert log == [(6, "ann-2026-01: 7"), (7, "ann-2026-01: 7"), (12, "ann-2026-02: 7")]
    assert (tmp_path / "ann-2026-01.txt").read_text() == "Invoice ann-2026-01: 7 minutes\n"


# --- quote


def suppliers(log: Log, **hours: float) -> list[object]:
    """The quote's definitions, with suppliers that take some hours each; a negative number is one that fails."""

    @activity(name="ask_supplier")
    async def ask(supplier: str, item: str) -> int:
        try:
            await trio.sleep(abs(hours[supplier]) * HOUR)
        except trio.Cancelled:
            log.note(f"{supplier} cancelled")
            raise
        if hours[supplier] < 0:
            raise ConnectionError(supplier)
        log.note(supplier)
        return 100 - int(hours[supplier])

    return [best_quote, ask]


LIMIT = timedelta(hours=10)


async def test_a_late_supplier_is_not_waited_for(autojump_clock: object) -> None:
    """The best of what came in time is taken when the time is over, and the late supplier's activity is cancelled."""
    log, store = Log(), MemoryStore()
    async with opened(store, *suppliers(log, a=1, b=3, late=50, broken=-2)) as hub:
        asking = await hub.start(best_quote, "x", ["a", "b", "late", "broken"], LIMIT)
        assert await asking.result() == Quote("b", 97)
        await hub.wait_idle()

    assert log == [(1, "a"), (3, "b"), (10, "late cancelled")]
    assert not store.snapshot()[tables.TIMERS]
    assert not store.snapshot()[tables.ACTIVITIES]


async def test_a_quote_is_done_when_all_have_answered(autojump_clock: object) -> None:
    """With all answers there the rest of the time is not waited for; with none in time there is no quote."""
    async with opened(MemoryStore(), *suppliers(Log(), a=1, b=3, late=50)) as hub:
        assert await (await hub.start(best_quote, "x", ["a", "b"], LIMIT)).result() == Quote("b", 97)
        assert trio.current_time() == pytest.approx(3 * HOUR)
        assert await (await hub.start(best_quote, "x", ["late"], LIMIT)).result() is None
        assert trio.current_time() == pytest.approx(13 * HOUR)


async def test_a_restart_does_not_prolong_a_quote(autojump_clock: object) -> None:
    """Answers from before the restart count, who was being asked is asked again, and the time is counted from the start."""
    log, store = Log(), MemoryStore()
    for stay in (2.0, 20.0):
        async with opened(store, *suppliers(log, a=1, b=3, late=9)) as hub:
            asking = await hub.start(best_quote, "x", ["a", "b", "late"], LIMIT, instance_id="q", if_exists="return")
            await trio.sleep(stay * HOUR)
            status = await asking.status()

    assert status.output == Quote("b", 97)
    assert sorted(log) == [(1, "a"), (2, "b cancelled"), (2, "late cancelled"), (5, "b"), (10, "late cancelled")]


# --- reminder


async def test_a_cart_that_was_left_is_reminded_of_once(autojump_clock: object) -> None:
    """The reminder comes when nothing has happened for so long, across a restart too; buying takes it back."""
    store = MemoryStore()
    async with opened(store, Cart, Mailbox) as hub:
        for customer in ("ann", "bob"):
            await hub.signal_entity(Cart.at(customer), Cart.add, "a kettle", HOUR)
        await trio.sleep(0.9 * HOUR)
        await hub.signal_entity(Cart.at("ann"), Cart.add, "a cup", HOUR)
        assert await hub.call_entity(Cart.at("bob"), Cart.buy) == ["a kettle"]
    async with opened(store, Cart, Mailbox) as hub:
        await trio.sleep(0.9 * HOUR)
        assert await hub.read_entity(Mailbox.at("ann")) is None
        await trio.sleep(5 * HOUR)
        assert await hub.read_entity(Mailbox.at("ann")) == Mailbox(["you left a kettle, a cup"])
        assert await hub.read_entity(Mailbox.at("bob")) is None


async def test_a_cart_that_nobody_touches_is_gone(autojump_clock: object) -> None:
    """A month after its last operation a cart is gone, and nothing of it is stored any more; the letters stay."""
    store = MemoryStore()
    async with opened(store, Cart, Mailbox) as hub:
        await hub.signal_entity(Cart.at("ann"), Cart.add, "a kettle", HOUR)
        await trio.sleep(2 * HOUR)
    for day in (10, 20, 30):
        async with opened(store, Cart, Mailbox) as hub:
            await trio.sleep(10 * 24 * HOUR - (2 * HOUR if day == 30 else 0))
            assert [item.entity_id.name async for item in hub.iter_entities()] == ["cart", "mailbox"]
    async with opened(store, Cart, Mailbox) as hub:
        await trio.sleep(2 * HOUR)
        assert [item.entity_id.name async for item in hub.iter_entities()] == ["mailbox"]


# --- programs and page

OUTCOMES = {
    "aggregator": "records: Region(records={'harbour': 17.5, 'hill': 12.5})",
    "approval": "a yacht: refused, because nobody answered",
    "billing": "run 2 ends with 24 invoices in the outbox",
    "chaining": "not booked: Oslo, and nothing is left of it",
    "eternal": "entries in the journal",
    "fan_out": " entity",
    "monitor": "report.csv has arrived",
    "reminder": "bob's mailbox: Mailbox(letters=['you left a drum, sticks'])",
    "quote": "the best is Quote(supplier='cheap', price=79)",
}


@pytest.fixture(scope="module")
def programs() -> Iterator[dict[str, subprocess.Popen[str]]]:
    """All programs, started at once: most of what they do is waiting."""
    started = {
        name: subprocess.Popen(
            [sys.executable, "-m", f"examples.patterns.{name}"],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for name in PATTERNS
    }
    yield started
    for child in started.values():
        child.kill()
        child.communicate()


@pytest.mark.parametrize("name", PATTERNS)
def test_each_program_runs_by_itself(name: str, programs: dict[str, subprocess.Popen[str]]) -> None:
    """Run as its page says, each program ends well and prints a few lines, among them what came of it."""
    out, err = programs[name].communicate(timeout=60)

    assert programs[name].returncode == 0, err
    assert "Traceback" not in err
    assert 3 <= len(out.splitlines()) <= 12
    assert OUTCOMES[name] in out


def test_the_page_shows_the_programs_as_they_are() -> None:
    """Each pattern has a link and a snippet on the page, each snippet stands in its file, and the package lists them all."""
    page = (ROOT / "docs" / "patterns.md").read_text()
    shown = re.findall(r"\]\(\.\./examples/patterns/(\w+)\.py\).*?^```python\n(.*?)^```$", page, re.DOTALL | re.MULTILINE)

    assert sorted(name for name, _ in shown) == PATTERNS
    for name, snippet in shown:
        assert snippet in (ROOT / "examples" / "patterns" / f"{name}.py").read_text(), name
        assert f"python -m examples.patterns.{name}`" in (examples.patterns.__doc__ or "")
