"""Clients that ask and wait for an answer: of an entity (a call), of an orchestration (an update).

The answer comes when it is durable (D2). Without a request id the asker is a number that means something in this life of the
hub only; with one the answer is stored under it, and each repetition gets it (D8).
"""

from __future__ import annotations

import itertools
import secrets
from collections.abc import Callable

from ..entities.messages import ClientRequest, Outcome, ReplyTo, WaitingClient
from .ack import Ack
from .runtime import Runtime

_tokens = itertools.count(secrets.randbits(62))
"""Begins anywhere, so that what a former process asked for is not taken for what this one asks for."""


async def ask(runtime: Runtime, send: Callable[[ReplyTo], None]) -> Outcome:
    """Send a question, and wait for its answer; cancelling only stops the waiting.

    Args:
      runtime: the hub.
      send: checks that it may be sent, and puts it into the engine.
    """
    await runtime.admit()
    token = next(_tokens)
    ack = Ack()
    send(WaitingClient(token))
    runtime.engine.calls[token] = ack
    runtime.scheduler.wake()
    try:
        outcome: Outcome = await ack.wait()
    finally:
        runtime.engine.calls.pop(token, None)
    return outcome


async def ask_once(runtime: Runtime, request_id: str, asked: bytes, send: Callable[[ReplyTo], None]) -> Outcome:
    """The same under a request id: what was asked before is not sent again.

    Args:
      runtime: the hub.
      request_id: the id.
      asked: the fingerprint of what is asked.
      send: checks that it may be sent, and puts it into the engine.

    Raises:
      RequestMismatch, LimitReached: see D8.
    """
    await runtime.admit()
    record = runtime.requests.find(request_id, asked)
    if record is None:
        runtime.requests.reserve(1, runtime.engine.batch)
        send(ClientRequest(request_id))
        runtime.requests.keep(request_id, asked, runtime.engine.batch)
    elif record.outcome is not None:
        await runtime.durable()
        return record.outcome
    ack = runtime.requests.wait_for_answer(request_id)
    runtime.scheduler.wake()
    outcome: Outcome = await ack.wait()
    return outcome
