"""The program: what it is told, in which order it does things, and what it answers with.

It exits with 0 if every total is right, 1 if one is not, 2 if it cannot work, and 130 (or 143) if it was interrupted.
"""

from __future__ import annotations

import argparse
import gc
import shutil
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import trio
from attrs import frozen
from perdure.hub import TaskHub
from perdure.storage.errors import PerdureError
from perdure.storage.lmdb_store import LmdbStore
from rich.console import Console

from .checking import check, foreign_flights
from .display import Landings, print_outcome
from .log_book import LogBook, LogBookProblem, open_log_book
from .nursery import open_plain_nursery
from .orchestration import plan_for
from .reading import FileProblem, FlightFile, read_flights
from .running import fly_all

HUB_NAME: Final = "flights"
JANUARY: Final = Path(__file__).parent / "data" / "flights-2013-01.csv.gz"


@frozen
class Options:
    """What the program is told.

    Attributes:
      file: the file of flights.
      storage: the folder of the hub.
      log_book: the log book's file.
      fresh: delete both first.
    """

    file: Path
    storage: Path
    log_book: Path
    fresh: bool


def options_of(arguments: Sequence[str] | None) -> Options:
    """Read the command line; ends the program with help or an error."""
    parser = argparse.ArgumentParser(
        prog="python -m examples.flights",
        description="Fly every flight of a file once, durably: aircraft and airports are entities, each flight is an "
        "orchestration. Interrupt or kill it at any time and start it again: it goes on, and ends with the same totals.",
        epilog="Exit status: 0 if all totals are right, 1 if one is not, 2 if it cannot work, 130 if it was interrupted.",
    )
    parser.add_argument(
        "file",
        nargs="?",
        type=Path,
        default=JANUARY,
        metavar="FILE",
        help="flights as CSV, gzipped or not (default: January 2013)",
    )
    parser.add_argument("--storage", type=Path, metavar="DIR", help="the hub's folder (default: build/flights/NAME-OF-FILE)")
    parser.add_argument("--log-book", type=Path, metavar="FILE", help="the log book (default: log-book.csv in the hub's folder)")
    parser.add_argument(
        "--fresh", action="store_true", help="delete what earlier runs left in the hub and the log book, and begin anew"
    )
    given = parser.parse_args(arguments)
    name = given.file.name.removesuffix(".gz").removesuffix(".csv")
    storage: Path = given.storage or Path("build") / "flights" / name
    return Options(given.file, storage, given.log_book or storage / "log-book.csv", given.fresh)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program, and return its exit status."""
    options = options_of(arguments)
    console = Console(highlight=False)
    try:
        file = read_flights(options.file)
        gc.freeze()  # the flights stay to the end: the garbage collector need not look through them again and again
        console.print(
            f"{options.file.name}: {file.rows:,} scheduled flights, of which {len(file.flights):,} were flown", soft_wrap=True
        )
        return trio.run(_until_interrupted, console, options, file)
    except (FileProblem, LogBookProblem, PerdureError, OSError) as error:
        Console(stderr=True, highlight=False).print(f"error: {error}", style="bold red", soft_wrap=True, markup=False)
        return 2


async def _until_interrupted(console: Console, options: Options, file: FlightFile) -> int:
    """Run, and end in good order at Ctrl-C: that takes less work at the next start than a kill, and is no safer."""
    status = 0
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:

        async def interrupt() -> None:
            nonlocal status
            status = 128 + await anext(aiter(signals))
            nursery.cancel_scope.cancel()

        async with open_plain_nursery() as nursery:
            nursery.start_soon(interrupt)
            status = await _run(console, options, file)
            nursery.cancel_scope.cancel()
    if status > 128:
        console.print("interrupted; start it again and it goes on", soft_wrap=True)
    return status


async def _run(console: Console, options: Options, file: FlightFile) -> int:
    if options.fresh:
        _delete_hub(options.storage / HUB_NAME)
    async with open_log_book(options.log_book, fresh=options.fresh) as book:
        _refuse_foreign(book, options, file)
        plan = plan_for(book)
        console.print(f"hub in {options.storage}, log book in {options.log_book}", soft_wrap=True)
        async with TaskHub(HUB_NAME, plan.all, options.storage) as hub:
            before = len(book)
            if before:
                console.print(f"an earlier run logged {before:,} of the flights; going on", soft_wrap=True)
            with Landings(console, len(file.flights), before) as landings:
                crashes = await fly_all(hub, plan, file.flights, landings.add)
                seconds = landings.seconds
            commits = hub.statistics().commits
            outcome = await check(hub, book, file, crashes)
    print_outcome(console, options.file.name, outcome)
    flown = len(file.flights) - before
    if flown:
        speed = f"{flown:,} flights in {seconds:.1f} s: {flown / seconds:,.0f} flights/s, all durable, in {commits:,} commits"
    else:
        speed = f"all flights had been flown before; it took {seconds:.1f} s to see that"
    console.print(speed, soft_wrap=True)
    if outcome.faults:
        console.print("not each flight exactly once, see above; --fresh begins anew", style="bold red", soft_wrap=True)
        return 1
    console.print("each flight exactly once: all totals are right", style="bold green", soft_wrap=True)
    return 0


def _refuse_foreign(book: LogBook, options: Options, file: FlightFile) -> None:
    """Refuse to go on with a log book of other flights: their aircraft would be counted with these."""
    foreign = foreign_flights((line.flight for line in book.lines()), file)
    if foreign:
        raise LogBookProblem(
            f"the log book {options.log_book} was begun with another file: it has {len(foreign):,} flights that "
            f"{options.file} does not have, such as {foreign[0].id}; choose another --storage and --log-book, or begin "
            "anew with --fresh"
        )


def _delete_hub(folder: Path) -> None:
    """Delete a hub.

    Raises:
      HubInUse: another process runs it.
      StorageUnusable: the folder holds something else, or a damaged hub; nothing is deleted.
    """
    if folder.exists():
        store = LmdbStore(folder)
        store.open()
        store.close()
        shutil.rmtree(folder)
