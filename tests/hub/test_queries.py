"""Finding instances (O16): each filter, and pages that are stable while instances come and go."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import trio
import trio.testing
from attrs import define
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from perdure.hub import TaskHub
from perdure.orchestration import OrchestrationContext, RuntimeStatus, orchestrator
from perdure.storage.memory_store import MemoryStore

from .virtual import START, Tally, hub_in

Context = OrchestrationContext
Clock = trio.testing.MockClock
BEGIN = datetime.fromtimestamp(START / 1_000_000, UTC)


@orchestrator
async def quick(ctx: Context) -> str:
    """At once."""
    return "done"


@orchestrator
async def patient(ctx: Context) -> None:
    """Wait for ever."""
    await ctx.wait_for_external_event("never")


@orchestrator
async def failing(ctx: Context) -> None:
    """Fail."""
    raise ValueError("no")


ALL = (quick, patient, failing, Tally)
KINDS: dict[str, tuple[Any, RuntimeStatus]] = {
    "quick": (quick, RuntimeStatus.COMPLETED),
    "patient": (patient, RuntimeStatus.RUNNING),
    "failing": (failing, RuntimeStatus.FAILED),
}


@define
class Known:
    """What the model knows of an instance."""

    kind: str
    status: RuntimeStatus
    created: datetime
    tags: dict[str, str]


async def pages_of(hub: TaskHub, limit: int, **filters: Any) -> list[str]:
    """The ids on all pages, in order; each page but the last is full."""
    found: list[str] = []
    token: str | None = None
    while True:
        page = await hub.query_instances(limit=limit, token=token, **filters)
        found += [item.instance_id for item in page.items]
        if page.token is None:
            return found
        assert len(page.items) == limit
        token = page.token


# --- one filter after another


async def test_queries_by_status(autojump_clock: Clock) -> None:
    """One status or several, as members or as text; an unknown one is refused."""
    async with hub_in(MemoryStore(), *ALL) as hub:
        for kind, (body, _) in KINDS.items():
            await hub.start(body, instance_id=kind)
        await hub.wait_idle()
        await hub.start(patient, instance_id="suspended")
        await hub.suspend("suspended")
        await hub.wait_idle()

        async def ids(status: Any) -> list[str]:
            return [item.instance_id for item in (await hub.query_instances(status=status)).items]

        assert await ids(RuntimeStatus.FAILED) == await ids("Failed") == ["failing"]
        assert await ids(["Completed", RuntimeStatus.RUNNING]) == ["patient", "quick"]
        assert await ids("Suspended") == ["suspended"]
        assert await ids([]) == []
        assert len(await ids(None)) == 4
        with pytest.raises(ValueError, match="Nonsense"):
            await ids("Nonsense")


async def test_queries_by_time(autojump_clock: Clock) -> None:
    """``created_from`` counts the moment itself, ``created_to`` does not; naive datetimes are refused."""
    async with hub_in(MemoryStore(), *ALL) as hub:
        for number in range(5):
            await hub.start(quick, instance_id=f"q{number}")
            await trio.sleep(60)
        at = [BEGIN + timedelta(minutes=number) for number in range(6)]
        assert await pages_of(hub, 2, created_from=at[1], created_to=at[3]) == ["q1", "q2"]
        assert await pages_of(hub, 2, created_from=at[4]) == ["q4"]
        assert await pages_of(hub, 2, created_to=at[0]) == []
        with pytest.raises(ValueError, match="naive"):
            await hub.query_instances(created_from=datetime(2030, 1, 1))


async def test_queries_by_name_prefix_and_tags(autojump_clock: Clock) -> None:
    """Prefixes compare exactly and byte by byte, names and tags exactly; several conditions must all hold."""
    async with hub_in(MemoryStore(), *ALL) as hub:
        tags = {"a": {}, "ab": {"x": "1"}, "aB": {"x": "2"}, "b": {"x": "1", "y": "2"}, "ä": {"x": "1"}, "abc/d%": {}}
        for name, its_tags in tags.items():
            await hub.start(quick if "a" in name else failing, instance_id=name, tags=its_tags)
        await hub.wait_idle()
        assert await pages_of(hub, 2, id_prefix="ab") == ["ab", "abc/d%"]
        assert await pages_of(hub, 2, id_prefix="ä") == ["ä"]
        assert await pages_of(hub, 2, id_prefix="abc/d%") == ["abc/d%"]
        assert await pages_of(hub, 2, id_prefix="z") == []
        assert await pages_of(hub, 2, name="failing") == ["b", "ä"]
        assert await pages_of(hub, 2, name="nobody") == []
        assert await pages_of(hub, 2, tags={"x": "1"}) == ["ab", "b", "ä"]
        assert await pages_of(hub, 2, tags={"x": "1", "y": "2"}) == ["b"]
        assert await pages_of(hub, 2, tags={"x": "1"}, name="quick", id_prefix="a", status="Completed") == ["ab"]


async def test_queries_show_what_was_committed(autojump_clock: Clock) -> None:
    """An item is the same as the instance's own status, and ``iter_instances`` gives all pages."""
    async with hub_in(MemoryStore(), *ALL) as hub:
        for number in range(250):
            await hub.start(quick, instance_id=f"{number:03}", tags={"n": str(number)})
        await hub.wait_idle()
        items = [item async for item in hub.iter_instances(status="Completed")]
        assert [item.instance_id for item in items] == [f"{number:03}" for number in range(250)]
        assert items[7] == await hub.instance("007").status()
        assert items[7].output == "done"


@pytest.mark.parametrize("limit", [0, -1, 10_001])
async def test_queries_have_bounded_pages(limit: int, autojump_clock: Clock) -> None:
    """A limit out of range is refused."""
    async with hub_in(MemoryStore(), *ALL) as hub:
        with pytest.raises(ValueError, match=r"10000|10,000"):
            await hub.query_instances(limit=limit)


@pytest.mark.parametrize("token", ["nonsense", "zz", ""])
async def test_queries_refuse_foreign_tokens(token: str, autojump_clock: Clock) -> None:
    """What is no token of such a page is refused, and a token of another query too."""
    async with hub_in(MemoryStore(), *ALL) as hub:
        for name in ("a1", "a2", "b1"):
            await hub.start(quick, instance_id=name)
        with pytest.raises(ValueError, match="token"):
            await hub.query_instances(token=token)
        page = await hub.query_instances(id_prefix="a", limit=1)
        with pytest.raises(ValueError, match="another query"):
            await hub.query_instances(id_prefix="b", token=page.token)


# --- against a model

NAMES = st.text(alphabet="ab-é/", min_size=1, max_size=3)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("start"), NAMES, st.sampled_from(sorted(KINDS)), st.dictionaries(st.sampled_from("xy"), NAMES)),
        st.tuples(st.just("purge"), NAMES),
        st.tuples(st.just("terminate"), NAMES),
        st.tuples(st.just("wait"), st.integers(1, 100)),
    ),
    max_size=25,
)
FILTERS = st.fixed_dictionaries(
    {},
    optional={
        "status": st.one_of(st.sampled_from(RuntimeStatus), st.lists(st.sampled_from(RuntimeStatus), max_size=3)),
        "id_prefix": st.one_of(st.just(""), NAMES),
        "name": st.sampled_from([*KINDS, "nobody"]),
        "tags": st.dictionaries(st.sampled_from("xy"), NAMES, max_size=1),
        "created_from": st.integers(0, 300).map(lambda seconds: BEGIN + timedelta(seconds=seconds)),
        "created_to": st.integers(0, 900).map(lambda seconds: BEGIN + timedelta(seconds=seconds)),
    },
)


def expected(known: dict[str, Known], filters: dict[str, Any]) -> list[str]:
    """The ids that the filters mean, in the order of their bytes."""
    statuses = filters.get("status")
    wanted = [statuses] if isinstance(statuses, RuntimeStatus) else statuses
    return sorted(
        (
            name
            for name, each in known.items()
            if (wanted is None or each.status in wanted)
            and name.startswith(filters.get("id_prefix", ""))
            and filters.get("name") in (None, each.kind)
            and filters.get("tags", {}).items() <= each.tags.items()
            and ("created_from" not in filters or each.created >= filters["created_from"])
            and ("created_to" not in filters or each.created < filters["created_to"])
        ),
        key=str.encode,
    )


async def act(hub: TaskHub, step: tuple[Any, ...], known: dict[str, Known]) -> None:
    """Do a step, on the hub and on the model, if it is possible."""
    match step:
        case ("wait", seconds):
            await trio.sleep(seconds)
        case ("start", name, kind, tags) if name not in known:
            body, status = KINDS[kind]
            created = BEGIN + timedelta(seconds=trio.current_time())
            await hub.start(body, instance_id=name, tags=tags)
            known[name] = Known(kind, status, created, tags)
        case ("terminate", name) if name in known and known[name].status is RuntimeStatus.RUNNING:
            await hub.terminate(name)
            known[name].status = RuntimeStatus.TERMINATED
        case ("purge", name) if name in known:
            await hub.instance(name).purge(force=True)
            del known[name]
        case _:
            return
    await hub.wait_idle()


@settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow])
@given(steps=STEPS, filters=FILTERS, limit=st.integers(1, 4), cache=st.sampled_from([64 << 20, 1]))
def test_queries_agree_with_a_model(steps: list[Any], filters: dict[str, Any], limit: int, cache: int) -> None:
    """After any starts, endings and purges, any filters find what the model says, in order, in pages of any size."""

    async def program() -> None:
        async with hub_in(MemoryStore(), *ALL, cache_bytes=cache) as hub:
            known: dict[str, Known] = {}
            for step in steps:
                await act(hub, step, known)
            assert await pages_of(hub, limit, **filters) == expected(known, filters)
            assert await hub.purge(**filters) == len(
                [name for name in expected(known, filters) if known[name].status is not RuntimeStatus.RUNNING]
            )
            rest = {name for name in known if known[name].status is RuntimeStatus.RUNNING or name not in expected(known, filters)}
            assert set(await pages_of(hub, 3)) == rest

    trio.run(program, clock=trio.testing.MockClock(autojump_threshold=0))


@settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow])
@given(before=st.sets(NAMES, max_size=12), between=st.lists(STEPS, max_size=12), limit=st.integers(1, 3))
def test_pages_are_stable_while_instances_come_and_go(before: set[str], between: list[list[Any]], limit: int) -> None:
    """What exists from the first page to the last is shown once, nothing twice, in order, whatever happens between pages."""

    async def program() -> None:
        async with hub_in(MemoryStore(), *ALL) as hub:
            known: dict[str, Known] = {}
            for name in before:
                await act(hub, ("start", name, "quick", {}), known)
            throughout, ever = set(known), set(known)
            shown: list[str] = []
            token: str | None = None
            meanwhile = iter(between)
            while True:
                page = await hub.query_instances(limit=limit, token=token)
                shown += [item.instance_id for item in page.items]
                token = page.token
                if token is None:
                    break
                for step in next(meanwhile, []):
                    await act(hub, step, known)
                    throughout &= set(known)
                    ever |= set(known)
            assert shown == sorted(set(shown), key=str.encode), "shown twice, or out of order"
            assert throughout <= set(shown) <= ever

    trio.run(program, clock=trio.testing.MockClock(autojump_threshold=0))
