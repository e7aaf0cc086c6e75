"""One seed: a whole hub on a store in memory, in virtual time, with random clients and everything going wrong around it.

A run is a number of steps. In each, a client asks for something, or repeats what it asked for before, or the world does
something: the clock is set, the disk refuses or is slow, the hub is paused. At some steps the process dies: the disk is cut
off between two commits or in the midst of one, a commit ends in doubt, or the hub is closed. The next life opens what is on
disk. After the last step all faults end, and what is left must come to its end (:mod:`.healing`).

After each commit the store is checked by rules that know nothing of the hub's memory (:mod:`perdure.testing.invariants`) and by
a model of what must come of what was sent (:mod:`.effects`).

Each step has a chance of its own, made of the seed and its number. So a run without some of its steps is still much like the
run with them, which is what makes it possible to shorten one that fails.
"""

from __future__ import annotations

import functools
import logging
import random
from collections.abc import Awaitable, Callable, Collection, Generator
from contextlib import contextmanager, suppress
from typing import Final

import trio
from attrs import define, field, frozen

from ...hub import HubClosed, TaskHub, limits
from ...hub.http_activity import HttpActivity
from ...orchestration.registry import Registry
from ...storage import StorageInDoubt, Values
from ...storage.memory_store import MemoryStore
from ...storage.store import Batch
from .. import invariants, replaying
from ..determinism import replaced, run
from ..scripted_store import Harm, ScriptedStore
from .clients import Clients
from .effects import after
from .healing import heal
from .known import Fault, Known
from .manner import Manner, manner_of
from .performing import DEFINITIONS
from .requests import Desk, Request
from .server import IN_PLACE_OF_THE_CLIENT
from .surroundings import Surroundings
from .trace import Trace
from .world import around

CRASHES: Final = (3, 4, 5)
"""How often the process dies in a run, before the last life that ends it."""
STEPS_BETWEEN: Final = 8
"""Steps between two deaths, at least; a commit that is to end in doubt has fewer to come, or the disk is cut off."""
PAYLOAD_BYTES_MIN: Final = (1, 40, 300, limits.PAYLOAD_BYTES_MIN)
"""From which size on a life stores values apart; the next one may do otherwise."""
RETENTION: Final = (None, None, None, 40, 400)
"""How long a life keeps instances that have finished, seconds; the next one may do otherwise."""
PATIENCE: Final = 1_000_000.0
"""Virtual seconds after which a run that is stuck fails; they pass at once."""


@frozen
class Outcome:
    """How a run ended.

    Attributes:
      seed: its seed.
      steps: how many steps it was to have.
      kept: those of them that it had, ``None`` for all.
      digest: of its trace.
      crashes: how often the process died.
      commits: how many batches became durable.
      faults: what was wrong: (number of the invariant, what); empty if all was well.
      failed_at: the step at which that was noticed.
      lines: its trace; empty unless something was wrong.
    """

    seed: int
    steps: int
    kept: tuple[int, ...] | None
    digest: str
    crashes: int
    commits: int
    faults: tuple[Fault, ...] = ()
    failed_at: int = 0
    lines: tuple[str, ...] = ()

    @property
    def replayed_by(self) -> str:
        """The command that runs it again."""
        kept = "" if self.kept is None else f" --keep {','.join(map(str, self.kept))}"
        return f"python -m perdure.testing.simulate --seed {self.seed} --seeds 1 --steps {self.steps}{kept}"


@define(eq=False)
class Simulation:
    """A run; see the module."""

    seed: int
    steps: int
    kept: frozenset[int] | None = None
    manner: Manner = field(init=False)
    known: Known = field(factory=Known, init=False)
    trace: Trace = field(factory=Trace, init=False)
    store: ScriptedStore = field(init=False)
    faults: list[Fault] = field(factory=list, init=False)
    crashes: int = field(default=0, init=False)
    step: int = field(default=0, init=False)
    _crash_at: set[int] = field(init=False)
    _dead_by: int = field(default=0, init=False)
    _early: bool = field(default=False, init=False)
    _chance: random.Random = field(init=False)
    _desk: Desk = field(init=False)
    _clients: Clients = field(init=False)
    _surroundings: Surroundings = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._chance = self._chance_of("run")
        self.manner = manner_of(self.seed)
        places = range(0, self.steps, STEPS_BETWEEN)
        self._crash_at = set(self._chance.sample(places, min(self._chance.choice(CRASHES), len(places))))
        self._desk = Desk(self.known, self.trace)
        self._clients = Clients(self.known, self._chance)
        self._surroundings = Surroundings(self.known, self.trace, self.manner, self._chance_of("surroundings"))
        self.store = ScriptedStore(MemoryStore(), looks=self._looks, on_durable=self._durable)

    def _chance_of(self, what: object) -> random.Random:
        return random.Random(f"{self.seed}/{what}")  # noqa: S311 - a seed is the purpose

    def _looks(self) -> int:
        return self._chance.randrange(self.manner.looks_max + 1)

    def _durable(self, batch: Batch) -> None:
        """Look at the store after a commit, before anybody can know of it."""
        number = self.known.stored.commit_number + 1
        change = self.known.stored.apply(batch)
        self.trace.commit(batch)
        self.faults += after(self.known, change, number)
        self.faults += invariants.faults(self.known.stored)
        self._desk.committed()

    # --- lives

    async def live(self) -> None:
        """The whole run: one life after another, and the last one that ends everything."""
        with trio.fail_after(PATIENCE), around(self._surroundings), replaced(*IN_PLACE_OF_THE_CLIENT):
            while self.step < self.steps and not self.faults:
                await self._guarded(self._life)
                self._next_life()
            if not self.faults:
                self._surroundings.heal()
                await self._guarded(self._last_life)

    def _hub(self) -> TaskHub:
        retention = self._chance.choice(RETENTION)
        self.known.retention = None if retention is None else retention * 1_000_000
        return TaskHub(
            "Simulated",
            DEFINITIONS,
            self.store,
            clock=self._surroundings.clock,
            cache_bytes=self.manner.cache_bytes,
            request_limit=self.manner.request_limit,
            payload_bytes_min=self._chance.choice(PAYLOAD_BYTES_MIN),
            retention=retention,
        )

    async def _guarded(self, life: Callable[[], Awaitable[None]]) -> None:
        """A life; what ends it, and should not have, is a fault."""
        try:
            await life()
        except StorageInDoubt:
            self.trace.note("the hub has stopped: in doubt")
        except Exception as error:  # noqa: BLE001 - whatever stops a hub is what we look for
            self.faults.append((0, f"the hub has stopped: {error!r}"))
        if self.store.submitted_in_doubt:
            self.faults.append((25, "a commit was tried after one whose outcome cannot be known"))

    def _next_life(self) -> None:
        self._dead_by, self._surroundings.paused = 0, False
        self.faults += replaying.faults(self.known.stored, _registry())
        self.crashes += 1
        self._desk.life += 1
        if not self.store.is_cut_off:
            self.store.cut_off(kept=self._chance.random() < 0.5)
        self.store = self.store.reborn(looks=self._looks, on_durable=self._durable)

    async def _life(self) -> None:
        async with self._hub() as hub, trio.open_nursery() as nursery:
            self._early = self.crashes > 0
            while self.step < self.steps and not self.faults:
                self.step += 1
                if self.step - 1 in self._crash_at and self._crash():
                    break
                if self.step == self._dead_by:
                    self.store.cut_off(kept=False)
                    break
                if self.kept is None or self.step - 1 in self.kept:
                    await self._take_step(hub, nursery)
                self.faults += (*self._desk.faults, *self._surroundings.faults)
            nursery.cancel_scope.cancel()

    async def _last_life(self) -> None:
        async with self._hub() as hub:
            self.faults += await heal(hub, self.known, lambda: bool(self.faults))

    def _crash(self) -> bool:
        """Let the process die, now or at one of the next commits; true if now."""
        kind = self._chance.choice(("cut", "cut", "close", "lost", "kept", "lost", "kept"))
        self.trace.note(f"crash: {kind}")
        if kind == "cut":
            self.store.cut_off(kept=self._chance.random() < 0.5)
        elif kind != "close":
            self.store.harm(1 + self._chance.randrange(4), Harm.LOST if kind == "lost" else Harm.KEPT)
            self._dead_by = self.step + STEPS_BETWEEN - 1
            return False
        return True

    # --- steps

    async def _take_step(self, hub: TaskHub, nursery: trio.Nursery) -> None:
        self._chance.seed(f"{self.seed}/step {self.step}")
        chance, manner = self._chance, self.manner
        if chance.random() < manner.clock_steps:
            self._surroundings.set_clock(chance.choice((-300, -20, -1, 1, 20, 300)))
        if chance.random() < manner.refusals:
            self.trace.note("the disk refuses a commit")
            self.store.harm(1 + chance.randrange(3), Harm.REFUSED)
        if chance.random() < 0.08:
            self._pause(hub)
        request = self._next_request()
        done = trio.Event()
        nursery.start_soon(self._ask, hub, request, done)
        if chance.random() >= manner.beside:
            with trio.move_on_after(chance.choice((1.0, 10.0, 100.0))):
                await done.wait()
        elif chance.random() < 0.5:
            await trio.lowlevel.checkpoint()

    async def _ask(self, hub: TaskHub, request: Request, done: trio.Event) -> None:
        await self._desk.ask(hub, request)
        done.set()

    def _next_request(self) -> Request:
        early, self._early = self._early, False
        if early and self._chance.random() < 0.5:
            return self._clients.early_request()
        repeatable = self._desk.repeatable
        if repeatable and self._chance.random() < 0.15:
            return repeatable[-1 - min(int(self._chance.expovariate(0.5)), len(repeatable) - 1)]
        return self._clients.request()

    def _pause(self, hub: TaskHub) -> None:
        self._surroundings.paused = not self._surroundings.paused
        self.trace.note(f"paused: {self._surroundings.paused}")
        with suppress(HubClosed):
            (hub.pause if self._surroundings.paused else hub.unpause)()


@functools.cache
def _registry() -> Registry:
    """The definitions, for replaying what is stored; made once, since it takes longer than most runs."""
    registry = Registry(Values(), lambda: "")
    registry.define((*DEFINITIONS, HttpActivity(None).activity))
    return registry


@contextmanager
def _quiet() -> Generator[None]:
    """The hub says nothing of what goes wrong."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(before)


def simulate(seed: int, steps: int = 120, keep: Collection[int] | None = None) -> Outcome:
    """Run a seed.

    Args:
      seed: what decides.
      steps: how many steps it has.
      keep: the numbers of those that it is to take, from 0; all if left out.

    Returns:
      How it ended; a run that finds something wrong ends there.
    """
    kept = None if keep is None else frozenset(keep)
    simulation = Simulation(seed, steps, kept)
    manner = simulation.manner
    with _quiet():
        try:
            run(simulation.live, seed=str(seed), turn_seconds=manner.turn_seconds, bounds=manner.bounds)
        except Exception as error:  # noqa: BLE001 - whatever ends a run too early is what we look for
            simulation.faults.append((0, f"the run has stopped: {error!r}"))
    return Outcome(
        seed,
        steps,
        None if kept is None else tuple(sorted(kept)),
        simulation.trace.digest,
        simulation.crashes,
        simulation.trace.commits,
        tuple(dict.fromkeys(simulation.faults)),
        simulation.step,
        tuple(simulation.trace.lines) if simulation.faults else (),
    )
