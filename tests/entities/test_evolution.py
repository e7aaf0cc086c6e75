"""State evolution: states that older, and newer, versions of a definition saved (E12)."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import attrs
import pytest
from attrs import define, field
from hypothesis import given
from perdure.entities import DefinitionError, Entity, EntityContext, StateUnreadable, entity
from perdure.entities.messages import Failure, Letter

from ..storage.value_strategies import fingerprint, plain_values
from .helpers import Bench, Subject, fresh, only_letter


class UpgradeError(Exception):
    """What an upgrade raises."""


@define
class Cat:
    """One of a union."""

    lives: int = 9


@define
class Dog:
    """Another one."""

    name: str = "Rex"


@define
class Hound:
    """What the other one is called later."""

    name: str = ""


@define
class Line:
    """A part of an order."""

    text: str
    price: int


@entity(name="order", version=1)
@define
class Old(Entity):
    """An order as it was: prices in cents."""

    lines: list[Line] = field(factory=list[Line])
    owner: str = "nobody"
    pets: list[Cat | Dog] = field(factory=list[Cat | Dog])
    tags: set[str] = field(factory=set[str])

    def fill(self) -> None:
        self.lines = [Line("tea", 250), Line("cup", 999)]
        self.pets = [Cat(3), Dog()]
        self.tags = {"b", "a"}


@define
class NewLine:
    """A part of an order, today."""

    text: str
    price: Decimal
    count: int = 1


@entity(name="order", version=3)
@define
class New(Entity):
    """An order today: prices in euros, an attribute renamed, one gone, one new."""

    lines: list[NewLine] = field(factory=list[NewLine])
    customer: str = ""
    pets: list[Cat | Dog] = field(factory=list[Cat | Dog])
    paid: bool = False

    @classmethod
    def upgrade(cls, state: dict[str, Any], version: int) -> dict[str, Any]:
        if version < 2:
            for line in state["lines"]:
                line["price"] = Decimal(line["price"]) / 100
            state["customer"] = state.pop("owner")
        if version < 3:
            del state["tags"]
        return state

    def total(self) -> Decimal:
        return sum((line.price * line.count for line in self.lines), Decimal())

    def pay(self) -> None:
        self.paid = True


def saved() -> Subject:
    """An order that the old version saved."""
    old = fresh(Old)
    old.call("fill")
    return old


def under(cls: Any, old: Subject) -> Subject:
    """The stored state of an entity, in the hands of another version of its definition."""
    subject = Bench(cls).subject(cls.at(old.id.key))
    subject.machine.state, subject.machine.version = old.machine.state, old.machine.version
    return subject


def with_upgrade(function: Callable[[Any, int], Any], **attributes: Any) -> type[Entity]:
    """A class of version 3 whose upgrade is a function; its attributes may be anything."""

    @entity(name="order", version=3)
    @define
    class Upgrading(Entity):
        value: Any = None
        tags: Any = None

        @classmethod
        def upgrade(cls, state: dict[str, Any], version: int) -> dict[str, Any]:
            return function(state, version)

        def touch(self) -> Any:
            return self.value

        def keep_tag(self, tag: str) -> list[str]:
            self.tags.append(tag)
            return self.tags

    return Upgrading


# --- what an upgrade does


def test_E12_an_upgrade_makes_an_old_state_one_of_today() -> None:
    """Operations and reads see the old state as the upgrade made it, nested classes and unions of classes included."""
    subject = under(New, saved())
    expected = New([NewLine("tea", Decimal("2.5")), NewLine("cup", Decimal("9.99"))], "nobody", [Cat(3), Dog()])
    assert subject.state == expected
    assert subject.call(New.total) == Decimal("12.49")


def test_E12_a_changed_state_is_saved_with_the_new_version() -> None:
    """Reading leaves an old state as it was stored; the first operation saves it with today's version, and no upgrade runs again."""
    old = saved()
    subject = under(New, old)
    assert subject.state.paid is False
    assert (subject.machine.state, subject.machine.version) == (old.machine.state, 1)
    subject.call(New.pay)
    assert subject.machine.version == 3
    assert under(with_upgrade(lambda state, version: pytest.fail("it runs again")), fresh(Old)).state is None
    assert subject.reopened().state.paid is True
    assert subject.reopened().state.customer == "nobody"


def test_E12_an_upgrade_is_told_the_version() -> None:
    """It gets the version that saved the state, and runs once for each state that it is needed for."""
    told: list[int] = []

    def note(state: dict[str, Any], version: int) -> dict[str, Any]:
        told.append(version)
        return {"value": sorted(state)}

    subject = under(with_upgrade(note), saved())
    assert subject.call("touch") == ["lines", "owner", "pets", "tags"]
    assert subject.call("touch") == ["lines", "owner", "pets", "tags"]
    assert told == [1]


def test_E12_what_an_upgrade_refers_to_is_copied() -> None:
    """A list that an upgrade gives to two entities does not become one list of both (E6)."""
    shared: list[str] = []
    cls = with_upgrade(lambda state, version: {"tags": shared})
    assert under(cls, saved()).call("keep_tag", "x") == ["x"]
    assert under(cls, saved()).call("keep_tag", "y") == ["y"]
    assert shared == []


def test_E12_an_upgrade_can_rename_a_class_of_a_union() -> None:
    """The mark in front of a member of a union says which class it is of; changed, it says another."""

    @entity(name="order", version=3)
    @define
    class Renamed(Entity):
        pets: list[Cat | Hound] = field(factory=list[Cat | Hound])

        @classmethod
        def upgrade(cls, state: dict[str, Any], version: int) -> dict[str, Any]:
            new = {"Dog": "Hound"}
            return {"pets": [[attrs.evolve(mark, name=new.get(mark.name, mark.name)), pet] for mark, pet in state["pets"]]}

    assert under(Renamed, saved()).state.pets == [Cat(3), Hound("Rex")]


def test_E12_what_an_upgrade_leaves_out_has_its_default() -> None:
    """Attributes that the returned state lacks take the class's defaults."""
    assert under(with_upgrade(lambda state, version: {}), saved()).state.value is None


@given(value=plain_values())
def test_E12_any_plain_data_goes_through_an_upgrade(value: Any) -> None:
    """Whatever plain value a state holds, an upgrade gets it, and what it returns is what today's version reads."""

    @entity(name="order", version=2)
    @define
    class Before(Entity):
        was: Any = None

        def keep(self, it: Any) -> None:
            self.was = it

    before = fresh(Before)
    before.call("keep", value)
    after = under(with_upgrade(lambda state, version: {"value": [state["was"], version]}), before)
    assert fingerprint(after.state.value) == fingerprint([value, 2])


def test_E12_a_subclass_inherits_the_upgrade_but_no_version() -> None:
    """A subclass has states of its own, so it starts at version 0 with nothing to upgrade; with a version it upgrades as its base does."""

    @define
    class Young(New):
        pass

    @entity(name="order", version=4)
    @define
    class Grown(New):
        pass

    assert fresh(Young).call("total") == 0
    assert under(Grown, saved()).state.customer == "nobody"


# --- what makes a state unreadable


@entity(name="order", version=1)
@define
class WithoutTags(Entity):
    """Of the same version, but an attribute is gone."""

    lines: list[Line] = field(factory=list[Line])
    owner: str = "nobody"
    pets: list[Cat | Dog] = field(factory=list[Cat | Dog])

    def touch(self) -> None: ...


def fails(state: dict[str, Any], version: int) -> dict[str, Any]:
    """An upgrade with a fault."""
    raise UpgradeError(f"cannot do {version}")


@pytest.mark.parametrize(
    ("cls", "reason"),
    [
        (WithoutTags, "'tags' is stored, which .* no longer has"),
        (with_upgrade(fails), "upgrade from version 1 to 3 raised .*UpgradeError: cannot do 1; mend it"),
        (
            with_upgrade(lambda state, version: state),
            "after the upgrade from version 1 to 3 it does not fit: state: a 'lines' is stored",
        ),
        (with_upgrade(lambda state, version: {"unknown": 1}), "after the upgrade .*a 'unknown' is stored"),
        (with_upgrade(lambda state, version: None), "after the upgrade .*state: .*None"),
        (with_upgrade(lambda state, version: []), "after the upgrade .*state: .*list"),
        (with_upgrade(lambda state, version: {"value": Cat()}), r"did not return plain data, .*: state\['value'\]: .*Cat"),
        (with_upgrade(lambda state, version: New()), "did not return plain data, .*: state: .*New"),
        (with_upgrade(lambda state, version: {1: 2}), "after the upgrade .*state: "),
    ],
)
def test_E12_an_unreadable_state_fails_the_operation_and_is_kept(cls: Any, reason: str) -> None:
    """A call fails with StateUnreadable, a signal becomes a dead letter, a read raises, and the stored bytes stay (E4)."""
    old = saved()
    subject = under(cls, old)
    for _ in range(2):
        failure = subject.failure("touch")
        assert failure.type_name.endswith("StateUnreadable")
        assert failure.is_caused_by(StateUnreadable)
    sent = subject.send("touch")
    assert only_letter(subject.run()).message == sent
    assert (subject.machine.state, subject.machine.version) == (old.machine.state, 1)
    with pytest.raises(StateUnreadable, match=f"@order@k cannot be read: .*{reason}"):
        subject.state  # noqa: B018


def test_E12_a_newer_version_is_unreadable_whatever_the_class_can_do() -> None:
    """A state of a newer version is left alone, by an upgrade too, and the error says to run the newer program."""
    newer = under(New, saved())
    newer.call(New.pay)
    state = newer.machine.state
    for cls in (Old, entity(name="order", version=2)(with_upgrade(lambda state, version: pytest.fail("called")))):
        subject = under(cls, newer)
        with pytest.raises(StateUnreadable, match=r"saved by version 3 .* this program has version [12]; run the newer program"):
            subject.state  # noqa: B018
        subject.send("fill" if cls is Old else "touch")
        assert isinstance(subject.run()[0], Letter)
        assert (subject.machine.state, subject.machine.version) == (state, 3)


def test_E12_an_unreadable_state_stops_nothing_else() -> None:
    """Operations on it are tried in turn; the implicit delete, which reads nothing, succeeds and frees the entity."""
    subject = under(with_upgrade(fails), saved())
    outcomes = [type(subject.outcome(name)) for name in ("touch", "touch")]
    assert outcomes == [Failure, Failure]
    subject.call("delete")
    assert subject.machine.empty
    assert subject.call("touch") is None


def test_E12_the_cause_of_an_unreadable_state_is_in_the_failure() -> None:
    """What the upgrade raised is the cause in the failure, so that a caller can tell it."""
    failure = under(with_upgrade(fails), saved()).failure("touch")
    assert failure.is_caused_by(UpgradeError)


# --- definitions that are refused


def upgrading(upgrade: Any, version: int = 1) -> type[Entity]:
    """A class with that as its upgrade."""

    @entity(version=version)
    @define
    class Made(Entity):
        pass

    Made.upgrade = upgrade
    return Made


async def _async_method(cls: Any, state: dict[str, Any], version: int) -> dict[str, Any]:
    return state


async def in_time(state: dict[str, Any], version: int) -> dict[str, Any]:
    """An upgrade that could wait."""
    return state


@pytest.mark.parametrize(
    ("cls", "reason"),
    [
        (upgrading(lambda self: None), "no class method; it is '@classmethod def upgrade"),
        (upgrading(staticmethod(lambda state, version: state)), "no class method"),
        (upgrading(property(lambda self: None)), "no class method"),
        (upgrading(None), "no class method"),
        (upgrading(classmethod(lambda cls: None)), r"a state and the version that saved it, and does not take that"),
        (upgrading(classmethod(lambda cls, state, version, more: None)), "does not take that.*'more'"),
        (upgrading(classmethod(lambda cls, state, version: (yield))), "a plain function"),
        (upgrading(classmethod(lambda cls, state, version: state), version=0), r"would never run.*@entity\(version=1\)"),
    ],
)
def test_E12_an_upgrade_that_could_not_run_is_refused(cls: type[Entity], reason: str) -> None:
    """An ``upgrade`` that is no class method, takes something else or would never be called is refused when it is defined."""
    with pytest.raises(DefinitionError, match=f"upgrade of entity class Made .*{reason}"):
        Bench(cls)


def test_E12_an_async_upgrade_is_refused() -> None:
    """An upgrade cannot wait, neither a class's nor a function's."""
    with pytest.raises(DefinitionError, match="a plain function"):
        Bench(upgrading(classmethod(_async_method)))
    with pytest.raises(DefinitionError, match="a plain function"):
        entity(name="made", version=1, upgrade=in_time)(lambda ctx: None)


@define
class NamedUpgrade(Entity):
    upgrade: int = 0  # type: ignore[assignment]


def test_E12_an_attribute_cannot_be_named_upgrade() -> None:
    """An attribute with that name is refused like any other name of Entity's."""
    with pytest.raises(DefinitionError, match="'upgrade' of entity class NamedUpgrade is named like a member"):
        Bench(NamedUpgrade)


# --- function entities


def test_E12_a_function_s_state_is_upgraded() -> None:
    """A function entity has a version and an upgrade too; they do the same."""

    def old(ctx: EntityContext) -> None:
        ctx.set_state({"cents": 250})

    def new(ctx: EntityContext) -> object:
        state = ctx.get_state(dict[str, Decimal], {})
        if ctx.operation == "save":
            ctx.set_state(state)
        return state

    def upgrade(state: dict[str, int], version: int) -> dict[str, Decimal]:
        return {"euros": Decimal(state["cents"]) / 100}

    before = Bench(made := entity(name="price")(old)).subject(made.at("k"))
    before.call("anything")
    after = under(entity(name="price", version=1, upgrade=upgrade)(new), before)
    assert after.state == {"euros": Decimal("2.5")}
    assert after.call("look") == {"euros": Decimal("2.5")}
    after.call("save")
    assert after.machine.version == 1
    assert after.reopened().state == {"euros": Decimal("2.5")}


def test_E12_a_function_s_state_of_another_type_is_unreadable() -> None:
    """A state that does not fit the type that the function names fails the operation with StateUnreadable, and is kept."""

    def keeper(ctx: EntityContext) -> None:
        ctx.set_state("text") if ctx.operation == "set" else ctx.get_state(int, 0)

    subject = Bench(made := entity(keeper)).subject(made.at("k"))
    subject.call("set")
    assert subject.failure("get").is_caused_by(StateUnreadable)
    assert subject.state == "text"
