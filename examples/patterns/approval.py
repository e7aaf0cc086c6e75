"""Human interaction: waiting for people, with a time limit and an escalation.

An event races a timer. A timer that lost is forgotten when the orchestration ends. A wait that lost takes no event any
more, so a manager's answer that comes after the escalation counts just as well as the director's: the newest wait gets it.
"""

from __future__ import annotations

import tempfile
from datetime import timedelta

import trio
from attrs import frozen
from perdure.hub import TaskHub
from perdure.orchestration import OrchestrationContext, activity, orchestrator

THREE_DAYS = timedelta(hours=72)


@frozen
class Answer:
    """What an approver says; raised as the event ``answer``: ``{"by": "ann", "approved": True}``."""

    by: str
    approved: bool


@activity
async def ask(approver: str, question: str, instance_id: str) -> None:
    """Send somebody the question, with the instance id that the answer is to be raised to."""
    print(f"  to {approver}: {question} (reply to {instance_id})")


@orchestrator
async def approve(ctx: OrchestrationContext, expense: str, approvers: list[str], patience: timedelta) -> str:
    """Ask one approver after another, each with some time to answer; without any answer the expense is refused."""
    for approver in approvers:
        await ctx.call_activity(ask, approver, f"approve {expense}?", ctx.instance_id)
        answer = ctx.wait_for_external_event("answer", Answer)
        too_late = ctx.create_timer(patience)
        if await ctx.when_any([answer, too_late]) is answer:
            return f"{'approved' if answer.result.approved else 'refused'} by {answer.result.by}"
    return "refused, because nobody answered"


async def main() -> None:
    """Three expenses: one that is answered, one that is escalated, and one that nobody looks at."""
    patience = timedelta(seconds=1)  # in earnest: THREE_DAYS
    with tempfile.TemporaryDirectory() as folder:
        async with TaskHub("Expenses", [approve, ask], folder) as hub:
            names = ("a taxi", "a piano", "a yacht")
            approvers = ["ann", "director"]
            taxi, piano, yacht = [await hub.start(approve, name, approvers, patience, instance_id=name) for name in names]
            await taxi.raise_event("answer", {"by": "ann", "approved": True})
            await trio.sleep(1.2)
            await piano.raise_event("answer", {"by": "director", "approved": False})
            for name, expense in zip(names, (taxi, piano, yacht), strict=True):
                print(f"{name}: {await expense.result()}")


if __name__ == "__main__":
    trio.run(main)
