"""Crash at every point, by counting (D1, D3, D4, D7, D10, E2, E5, L5, O5).

The workload runs while its n-th commit is harmed, or its n-th step cancelled, for n = 1, 2, 3, ... until a run survives.
After that the next process opens the same disk, the client repeats what it was not told had happened, and everything is
compared with a run that nothing happened to.
"""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from perdure.orchestration import RuntimeStatus
from perdure.testing.scripted_store import Harm, ScriptedStore

from . import disk
from .workload import EXPECTED, MANNERS, MONEY, TOTAL, CancelAtStep, Client, Manner, check_ending, run_once

EACH_HARM = [Harm.REFUSED, Harm.LOST, Harm.KEPT, Harm.DIED_BEFORE, Harm.DIED_AFTER]


def test_the_workload_does_what_it_says() -> None:
    """Undisturbed, the workload conserves money, ends every orchestration and leaves no lock: it is worth comparing with."""
    assert EXPECTED is not None
    assert sum(EXPECTED[name] for name in MONEY) == TOTAL
    assert all(EXPECTED[f"{name} locked"] is None for name in MONEY)
    assert EXPECTED["first"] == [1, 2, 3, 5]
    assert EXPECTED["second"] == [3, 77]
    assert EXPECTED["third"] == [1000, 1001]
    assert EXPECTED["family"][1] == ["alice -> carol: 7", "carol -> alice: 3"]
    assert EXPECTED["holder"][:2] == (RuntimeStatus.TERMINATED, "enough")
    assert EXPECTED["too much"][0] is RuntimeStatus.FAILED
    assert EXPECTED["letters"] == ["note_and_fail"]
    assert EXPECTED["never"] is None


@pytest.mark.parametrize("manner", MANNERS)
def test_D1_every_commit_of_a_run_leaves_a_sound_disk(manner: str) -> None:
    """After each commit of an undisturbed run, what is on disk fits together: nothing of a turn came without the rest."""
    store = ScriptedStore(looks=MANNERS[manner].looks)
    check_ending(run_once(Client(), store, MANNERS[manner]), store)
    for rows in disk.after_each(store.batches):
        disk.check(rows)


def live_through(client: Client, store: ScriptedStore, manner: Manner) -> bool:
    """Run the workload, and once more if it was cut off; whether it was."""
    seen = run_once(client, store, manner)
    disk.check(store.disk.snapshot())
    cut_off = seen is None
    if cut_off:
        store = store.reborn(looks=manner.looks)
        seen = run_once(client, store, manner)
        disk.check(store.disk.snapshot())
    check_ending(seen, store)
    return cut_off


@pytest.mark.parametrize("manner", MANNERS)
@pytest.mark.parametrize("harm", EACH_HARM, ids=lambda harm: harm.name)
def test_harm_at_every_commit(harm: Harm, manner: str) -> None:
    """Whatever happens to whichever commit, everything acknowledged is there once and the end is the same."""
    how = MANNERS[manner]
    # Nearly every turn is a commit in small batches: each kind of harm takes its share of them.
    first, stride = (1, 1) if how.batch_instances_max > 1 else (1 + EACH_HARM.index(harm), len(EACH_HARM))
    n = 0
    for n in itertools.count(first, stride):
        store = ScriptedStore(looks=how.looks).harm(n, harm)
        cut_off = live_through(Client(), store, how)
        assert cut_off == (harm is not Harm.REFUSED and store.submitted >= n)
        if store.submitted < n:
            break
    assert n > 8


plans = st.lists(st.tuples(st.integers(1, 25), st.sampled_from(EACH_HARM)), min_size=2, max_size=5)


@settings(max_examples=25, deadline=None)
@given(plans, st.sampled_from(sorted(MANNERS)), st.integers(0, 4))
def test_harm_again_and_again(plan: list[tuple[int, Harm]], manner: str, looks: int) -> None:
    """A process that dies while it takes up what an earlier one left changes nothing either."""
    client, how = Client(), MANNERS[manner]
    store = ScriptedStore(looks=looks)
    for n, harm in plan:
        seen = run_once(client, store.harm(n, harm), how)
        disk.check(store.disk.snapshot())
        store = store.reborn(looks=looks)
        if seen is not None:
            break
    check_ending(run_once(client, store, how), store)


@pytest.mark.parametrize("manner", MANNERS)
def test_D7_cancelling_at_every_step(manner: str) -> None:
    """Wherever the hub's scope is cancelled, nothing is lost and nothing has failed by it: the next process ends it all."""
    how = MANNERS[manner]
    n = 0
    stride = {"plain": 2, "slow disk": 5}.get(manner, 23)
    for n in itertools.count(1, stride):
        client, store, cancelling = Client(), ScriptedStore(looks=how.looks), CancelAtStep(n)
        seen = run_once(client, store, how, cancelling)
        disk.check(store.disk.snapshot())
        if seen is not None:
            check_ending(seen, store)
            break
        store = ScriptedStore(store.disk, looks=how.looks)
        check_ending(run_once(client, store, how), store)
    assert n > 50
