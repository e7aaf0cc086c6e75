"""Activities for worker processes, which import this module: so it imports little.

They meet the test in FIFOs: opening one waits until the other side opens it too.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cattrs
from attrs import define
from perdure.hub import activity_context
from perdure.orchestration import RetryPolicy, activity
from perdure.storage.values import make_converter


@define
class Matrix:
    """A value of a class."""

    rows: list[list[int]]


class Singular(ArithmeticError):
    """A matrix that has no inverse."""


class Tag:
    """A value that only a hook of the program's own can convert."""

    def __init__(self, text: str) -> None:
        self.text = text


def make_tagging_converter() -> cattrs.Converter:
    """A converter that knows tags."""
    converter = make_converter()
    converter.register_unstructure_hook(Tag, lambda tag: tag.text)
    converter.register_structure_hook(Tag, lambda text, _: Tag(text))
    return converter


@activity(process=True)
def transposed(matrix: Matrix) -> Matrix:
    """A matrix with rows and columns exchanged."""
    if not matrix.rows:
        raise Singular("it is empty")
    return Matrix([list(column) for column in zip(*matrix.rows, strict=True)])


@activity(process=True)
def own_pid() -> int:
    """The process that runs it."""
    return os.getpid()


@activity(process=True)
def what_it_knows() -> dict[str, Any]:
    """What its context says, and what is wrong with it outside."""
    context = activity_context()
    return {
        "name": context.name,
        "instance_id": context.instance_id,
        "attempt": context.attempt,
        "idempotency_key": context.idempotency_key,
        "cancelled": context.cancelled,
    }


@activity(process=True)
def unfit(what: str) -> int:
    """Give back what is no int, or say what cannot be kept."""
    if what == "heartbeat":
        activity_context().heartbeat(Singular)
    if what == "exit":
        raise SystemExit("enough")
    return what  # type: ignore[return-value]


@activity(process=True)
def tagged(tag: Tag) -> Tag:
    """A tag, twice."""
    return Tag(tag.text * 2)


@activity(process=True, retry=RetryPolicy(3, 60))
def dying_twice() -> list[Any]:
    """Says how far it is and dies, twice; what the third attempt knows."""
    context = activity_context()
    if context.attempt < 3:
        context.heartbeat(["item", context.attempt])
        os.kill(os.getpid(), signal.SIGKILL)
    return [context.attempt, context.last_heartbeat, context.idempotency_key]


@activity(process=True)
def dying(how: str) -> None:
    """Ends its process."""
    if how == "exit":
        os._exit(7)
    os.kill(os.getpid(), getattr(signal, how))
    while True:
        pass


@activity(process=True)
def leaving_something(fifo: str) -> None:
    """Starts a program in the background, which waits at a FIFO, and dies."""
    os.system(f"cat {fifo} >/dev/null &")
    os._exit(0)


@activity(process=True)
def busy(fifo: str) -> None:
    """Tells its process through a FIFO, and computes for ever."""
    tell(fifo)
    while True:
        pass


@activity(process=True)
def busy_at_first(fifo: str) -> int:
    """The same, but only in its first attempt; the number of the attempt."""
    if activity_context().attempt == 1:
        busy.function(fifo)
    return activity_context().attempt


@activity(process=True)
def asked(telling: str, hearing: str) -> str:
    """Tells its process, and waits until it is told something; what."""
    tell(telling)
    return Path(hearing).read_text()


@activity(process=True)
def meeting(fifo: str, mode: str) -> int:
    """Waits until another attempt opens the other side; its process."""
    with Path(fifo).open(mode):
        return os.getpid()


@activity(process=True, max_concurrent=1)
def alone() -> int:
    """The process that runs it, and no other runs it at that time."""
    return os.getpid()


def tell(fifo: str) -> None:
    """Write the number of this process, once somebody reads."""
    Path(fifo).write_text(str(os.getpid()))


# --- what a fresh process does not find


def nested() -> Any:
    """An activity inside of a function."""

    @activity(process=True)
    def inner() -> None:
        """Cannot be had from outside."""

    return inner


def _plain() -> None:
    """A function whose activity has another name than it has itself."""


def _made() -> Callable[[], None]:
    def plain() -> None:
        """Made by a function, under the name of another one."""

    plain.__qualname__ = "_plain"
    return plain


def _strange() -> None:
    """Says of itself that it is of a module that there is not."""


_strange.__module__ = "tests.hub.gone"

other_name = activity(process=True)(_plain)
wrapped = activity(process=True)(_made())
anonymous = activity(process=True, name="anonymous")(lambda: None)
gone = activity(process=True)(_strange)
