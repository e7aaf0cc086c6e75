"""Fan-out and fan-in: many activities side by side, and their results joined.

Here: the words of this project's own documents. ``ctx.map`` keeps a few activities running at a time and gives the results
in the order of the files, whichever ended first. The files are listed by an activity too: what an orchestrator loops
over must be the same when it is replayed, and a folder may change meanwhile.
"""

from __future__ import annotations

import re
import tempfile
from collections import Counter
from pathlib import Path

import trio
from perdure.hub import TaskHub
from perdure.orchestration import OrchestrationContext, activity, orchestrator

PROJECT = Path(__file__).parents[2]


@activity
def list_documents(folder: str) -> list[str]:
    """The documents in a folder and its ``docs``; a plain function, so it runs in a worker thread."""
    return sorted(str(path) for pattern in ("*.md", "docs/*.md") for path in Path(folder).glob(pattern))


@activity
def count_words(document: str) -> dict[str, int]:
    """How often each word of five letters or more stands in a document."""
    return dict(Counter(re.findall(r"[a-z]{5,}", Path(document).read_text(encoding="utf-8").lower())))


@orchestrator
async def frequent_words(ctx: OrchestrationContext, folder: str, how_many: int) -> list[tuple[str, int]]:
    """The most frequent words of all documents, with four documents being read at a time."""
    documents = await ctx.call_activity(list_documents, folder)
    counts = await ctx.map(count_words, documents, limit=4)
    total = Counter[str]()
    for count in counts:
        total.update(count)
    return sorted(total.items(), key=lambda item: (-item[1], item[0]))[:how_many]


async def main() -> None:
    """Count the words of this project's documents."""
    with tempfile.TemporaryDirectory() as folder:
        async with TaskHub("Words", [frequent_words, list_documents, count_words], folder) as hub:
            counting = await hub.start(frequent_words, str(PROJECT), 8)
            for word, count in await counting.result():
                print(f"{count:5} {word}")


if __name__ == "__main__":
    trio.run(main)
