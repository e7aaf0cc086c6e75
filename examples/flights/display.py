"""What a person sees: a progress bar in a terminal, plain lines elsewhere, and the table at the end."""

from __future__ import annotations

from time import monotonic
from types import TracebackType
from typing import Final, Self

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeRemainingColumn
from rich.table import Table

from .checking import Outcome

_LINES: Final = 20
"""Where there is no terminal, so many lines tell of the progress."""

_REFRESH_SECONDS: Final = 0.1


class Landings:
    """Shows how many flights have landed, in a ``with`` block.

    Args:
      console: where.
      total: how many there are.
      before: how many had landed before; they do not count for the speed.
    """

    def __init__(self, console: Console, total: int, before: int) -> None:
        self._console = console
        self._total = total
        self._before = before
        self._landed = 0
        self._line = 0
        self._started = monotonic()
        self._refreshed = 0.0
        self._progress = Progress(
            SpinnerColumn(),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("flights"),
            TextColumn("{task.fields[speed]}"),
            TimeRemainingColumn(),
            console=console,
            auto_refresh=False,  # refreshed from here: a thread would take the interpreter from the hub
            disable=not console.is_terminal,
        )
        self._task = self._progress.add_task("landed", total=total, speed="")

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None) -> None:
        self._progress.stop()

    @property
    def seconds(self) -> float:
        """Since this was made."""
        return monotonic() - self._started

    @property
    def speed(self) -> float:
        """Flights landed since then, per second."""
        return max(0, self._landed - self._before) / max(self.seconds, 1e-9)

    def add(self, count: int) -> None:
        """So many more have landed."""
        self._landed += count
        speed = f"{self.speed:,.0f}/s" if self._landed > self._before else ""
        if not self._console.is_terminal:
            line = self._landed * _LINES // self._total
            if line > self._line and speed:
                self._line = line
                self._console.print(f"{self._landed:,} of {self._total:,} flights landed  {speed}".rstrip(), soft_wrap=True)
        elif self._landed == self._total or monotonic() - self._refreshed > _REFRESH_SECONDS:
            self._refreshed = monotonic()
            self._progress.update(self._task, completed=self._landed, speed=speed, refresh=True)


def print_outcome(console: Console, title: str, outcome: Outcome) -> None:
    """Print the table of totals, and what is wrong."""
    table = Table(title=title, title_justify="left", title_style="bold", box=SIMPLE_HEAD)
    table.add_column("total")
    for source in outcome.columns:
        table.add_column(source, justify="right", no_wrap=True)
    differing = outcome.differing
    for name in outcome.names:
        cells = [_text(figures.get(name)) for figures in outcome.columns.values()]
        table.add_row(name, *cells, style="bold red" if name in differing else None)
    console.print(table)
    for fault in outcome.faults:
        console.print(fault, style="bold red", soft_wrap=True, highlight=False)


def _text(figure: int | str | None) -> str:
    return "" if figure is None else f"{figure:,}" if isinstance(figure, int) else figure
