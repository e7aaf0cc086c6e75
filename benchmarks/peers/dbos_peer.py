"""DBOS: ``python -m benchmarks.peers.dbos_peer WORKLOAD FOLDER SCALE``.

Its default, SQLite in two files (workflows in one, the application's rows in the other; in one file it stalls with many
threads), in the process of the client: nothing crosses a boundary. What is nearest to a call of an entity is a workflow with
one transaction on a row; transactions block, so each client is a thread. It has no one-way messages to keyed state, so W1 is
left out.
"""

# pyright: basic
# pyright: reportMissingImports=false

from __future__ import annotations

import asyncio
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import sqlalchemy
from dbos import DBOS, SQLAlchemyDatasource

from .measuring import FIRST_KEYS, STEPS, Figures, check, one_and_many, run

_ADD = "insert into counter values (:key, 1) on conflict (key) do update set count = counter.count + 1 returning count"

rows: SQLAlchemyDatasource


@DBOS.step()
async def greet(name: str) -> str:
    """A step."""
    return f"Hello {name}"


@DBOS.workflow()
async def sequence() -> list[str]:
    """Three steps, one after another."""
    return [await greet(city) for city in STEPS]


def _add(key: str) -> int:
    return rows.sql_session().execute(sqlalchemy.text(_ADD), {"key": key}).scalar_one()


@DBOS.workflow()
def add(key: str) -> int:
    """Add to the count of a row, in a transaction of its own."""
    return rows.run_tx_step({"name": "add"}, _add, key)


def _launch(folder: Path) -> None:
    global rows  # noqa: PLW0603 - workflows find it here, as they are found by their names
    DBOS(config={"name": "bench", "system_database_url": f"sqlite:///{folder}/system.db", "log_level": "ERROR"})
    rows = SQLAlchemyDatasource.create(f"sqlite:///{folder}/rows.db")
    DBOS.launch()
    with rows.engine.begin() as connection:
        connection.execute(sqlalchemy.text("create table counter (key text primary key, count integer)"))


async def _calls(folder: Path, scale: float) -> Figures:
    _launch(folder)
    with ThreadPoolExecutor(256) as threads:

        async def call(key: str) -> None:
            await asyncio.get_running_loop().run_in_executor(threads, add, key)

        await call("warm")
        return await one_and_many(lambda _: call("one"), lambda number: call(f"key-{number % FIRST_KEYS}"), scale)


async def _sequences(folder: Path, scale: float) -> Figures:
    _launch(folder)

    async def one(_: int) -> None:
        check("a result", await sequence(), [f"Hello {city}" for city in STEPS])

    await one(0)
    return await one_and_many(one, one, scale)


if __name__ == "__main__":
    run({"call": _calls, "sequence3": _sequences}, *sys.argv[1:])
    sys.stdout.flush()
    os._exit(0)  # its threads would be waited for
