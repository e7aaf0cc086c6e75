"""Ways in which an orchestrator may try to await, or to enter, what is not its context's (O2).

The line that must be refused is marked with a comment, so that a test can find it in the traceback.
"""

from __future__ import annotations

import asyncio
import types
from collections.abc import AsyncGenerator, Callable, Coroutine, Generator
from typing import Any

import trio
from attrs import define, field


@define(eq=False)
class World:
    """Things of the program around the hub that an orchestrator got hold of.

    Attributes:
      event, lock: Trio's.
      loop: an event loop of asyncio that does not run.
      ran: what should never have run.
    """

    event: trio.Event = field(factory=trio.Event)
    lock: trio.Lock = field(factory=trio.Lock)
    loop: asyncio.AbstractEventLoop = field(factory=asyncio.new_event_loop)
    ran: list[str] = field(factory=list[str])

    async def child(self) -> None:
        """Must not run."""
        self.ran.append("a child")

    def in_thread(self) -> None:
        """Must not run either."""
        self.ran.append("a thread")


class Foreign:
    """An awaitable of nobody's library."""

    def __await__(self) -> Generator[object, None, None]:
        yield object()


@types.coroutine
def bare_yield() -> Generator[None, None, None]:
    """Yields nothing at all."""
    yield


async def sleeping(_: World) -> None:
    await trio.sleep(1)  # the line


async def sleeping_for_ever(_: World) -> None:
    await trio.sleep_forever()  # the line


async def waiting_for_an_event(world: World) -> None:
    await world.event.wait()  # the line


async def checkpointing(_: World) -> None:
    await trio.lowlevel.checkpoint()  # the line


async def shielded_checkpoint(_: World) -> None:
    await trio.lowlevel.cancel_shielded_checkpoint()  # the line


async def receiving(_: World) -> None:
    send, receive = trio.open_memory_channel[int](1)
    send.send_nowait(1)
    with send, receive:
        await receive.receive()  # the line


async def sending(_: World) -> None:
    send, receive = trio.open_memory_channel[int](0)
    with send, receive:
        await send.send(1)  # the line


async def locking(world: World) -> None:
    async with world.lock:  # the line
        pass


async def in_a_thread(world: World) -> None:
    await trio.to_thread.run_sync(world.in_thread)  # the line


async def reading_a_file(_: World) -> None:
    await trio.Path("/").iterdir()  # the line


async def using_a_socket(_: World) -> None:
    with trio.socket.socket() as socket:
        await socket.connect(("127.0.0.1", 9))  # the line


async def connecting(_: World) -> None:
    await trio.open_tcp_stream("127.0.0.1", 9)  # the line


async def in_a_scope(_: World) -> None:
    with trio.CancelScope():  # noqa: ASYNC100 - the line
        pass


async def moving_on(_: World) -> None:
    with trio.move_on_after(5):  # noqa: ASYNC100 - the line
        pass


async def failing_after(_: World) -> None:
    with trio.fail_after(5):  # noqa: ASYNC100 - the line
        pass


async def in_a_nursery(world: World) -> None:
    async with trio.open_nursery() as nursery:  # the line
        nursery.start_soon(world.child)


async def an_asyncio_future(world: World) -> None:
    await world.loop.create_future()  # the line


async def an_asyncio_checkpoint(_: World) -> None:
    await asyncio.sleep(0)  # the line


async def an_awaitable_of_nobodys(_: World) -> None:
    await Foreign()  # the line


async def a_bare_yield(_: World) -> None:
    await bare_yield()  # the line


async def in_an_async_generator(_: World) -> None:
    async def numbers() -> AsyncGenerator[int]:
        await trio.sleep(1)  # the line
        yield 1

    async for _number in numbers():
        pass


Way = Callable[[World], Coroutine[Any, Any, None]]
WAYS: list[tuple[Way, str, str]] = [
    (sleeping, "trio.sleep", "ctx.sleep"),
    (sleeping_for_ever, "trio.sleep_forever", "ctx.sleep"),
    (waiting_for_an_event, "trio.Event.wait", "ctx.wait_for_external_event"),
    (checkpointing, "trio.checkpoint", "an activity"),
    (shielded_checkpoint, "trio.cancel_shielded_checkpoint", "an activity"),
    (receiving, "trio.MemoryReceiveChannel.receive", "ctx.wait_for_external_event"),
    (sending, "trio.MemorySendChannel.send", "an activity"),
    (locking, "trio.", "an activity"),
    (in_a_thread, "trio.to_thread_run_sync", "an activity"),
    (reading_a_file, "trio.", "an activity"),
    (using_a_socket, "trio.", "an activity"),
    (connecting, "trio.open_tcp_stream", "an activity"),
    (in_a_scope, "trio.CancelScope", "ctx.CancelScope"),
    (moving_on, "trio.", "ctx.move_on_after"),
    (failing_after, "trio.", "ctx.fail_after"),
    (in_a_nursery, "trio.open_nursery", "ctx.open_nursery"),
    (an_asyncio_future, "asyncio.Future", "an activity"),
    (an_asyncio_checkpoint, "asyncio.sleep", "ctx.sleep"),
    (an_awaitable_of_nobodys, "object", "an activity"),
    (a_bare_yield, "NoneType", "an activity"),
    (in_an_async_generator, "trio.sleep", "ctx.sleep"),
]
"""Each with what the refusal must name, and what it must offer instead."""
