"""Identity: entity ids, instance ids and hub names (I1 to I4)."""

from __future__ import annotations

import copy
import pickle
import unicodedata
from typing import Any

import pytest
from attrs import define
from hypothesis import example, given
from hypothesis import strategies as st
from perdure.entities.entity import Entity, entity
from perdure.entities.ids import EntityId, EntityRef, check_entity_key, check_hub_name, check_instance_id

letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
name_characters = letters + "0123456789_.-"
names = st.builds(str.__add__, st.sampled_from(letters), st.text(name_characters, max_size=99))
characters = st.characters(exclude_categories=["Cs"])
awkward = st.sampled_from(["", "@", "@@", "/", "#?%", "\0", " ", "\n", "é", "e\u0301", "İ", "ß", "\U0010ffff", "\uffff", "a@b"])
keys = st.one_of(awkward, st.text(characters, max_size=100))
surrogates = st.characters(categories=["Cs"])
at_the_limit = ["k" * 400, "é" * 200, "あ" * 133 + "k", "😀" * 100, "@" * 400, "\0" * 400]


@define
class Account(Entity):
    """Addressed by the name ``account``."""


@entity(name="Ledger.v2")
@define
class Book(Entity):
    """Addressed by the name of its option."""


# --- I1


@given(name=names, key=keys)
def test_I1_name_is_folded_and_key_is_kept(name: str, key: str) -> None:
    """A name is stored in lower case, and a key comes out as it went in, character for character."""
    made = EntityId(name, key)
    assert made.name == name.lower()
    assert made.key == key
    assert made == EntityId(name.swapcase(), key)
    assert hash(made) == hash(EntityId(name.swapcase(), key))


@pytest.mark.parametrize("name", ["a", "Z", "a" * 100, "A_.-9", "z" + "." * 99])
def test_I1_names_at_the_boundaries(name: str) -> None:
    """One character and a hundred are a name, and so are all allowed characters after a letter."""
    assert EntityId(name, "").name == name.lower()


@pytest.mark.parametrize(
    "name",
    [
        "",
        "a" * 101,
        "1a",
        "_a",
        ".a",
        "-a",
        "a b",
        "a@b",
        "a/b",
        "\u00e9",
        "a\u00e9",
        "\uff41",
        "a\u0661",
        "a\n",
        "a\0",
        "\ud800",
    ],
)
def test_I1_names_that_are_refused(name: str) -> None:
    """What is too short, too long, begins with no letter or holds another character is refused with the rule."""
    with pytest.raises(ValueError, match=r"1 to 100 characters of \[A-Za-z0-9_.-\]"):
        EntityId(name, "k")


def test_I1_case_is_folded_as_ascii_only() -> None:
    """Characters that only Unicode folds to ASCII letters (the Kelvin sign, the long s) make no second spelling."""
    for sign in ("\u212a", "\u017f"):
        assert sign.casefold().isascii()
        with pytest.raises(ValueError, match="no entity name"):
            EntityId(f"a{sign}", "k")


@pytest.mark.parametrize("value", [None, 1, b"account", ["a"], 1.5])
def test_I1_what_is_no_text_is_a_type_error(value: Any) -> None:
    """A name or key that is no text is a TypeError that says what it is, at both doors."""
    for made in (lambda: EntityId(value, "k"), lambda: EntityId("a", value), lambda: Account.at(value)):
        with pytest.raises(TypeError, match=type(value).__name__):
            made()


@pytest.mark.parametrize("key", at_the_limit)
def test_I1_longest_keys(key: str) -> None:
    """A key may take 400 UTF-8 bytes, however many characters that are, and one byte more is refused with the limit."""
    assert len(key.encode()) == 400
    assert EntityId("a", key).key == Account.at(key).key == key
    for made in (lambda: EntityId("a", key + "x"), lambda: Account.at(key + "x"), lambda: EntityId.parse(f"@a@{key}x")):
        with pytest.raises(ValueError, match="400 UTF-8 bytes"):
            made()


@given(key=st.text(characters, min_size=80, max_size=500))
def test_I1_key_length_is_counted_in_bytes(key: str) -> None:
    """A key is accepted exactly if its UTF-8 form has at most 400 bytes."""
    if len(key.encode()) <= 400:
        assert check_entity_key(key) == key
    else:
        with pytest.raises(ValueError, match="400"):
            check_entity_key(key)


@given(before=keys, surrogate=surrogates, after=keys)
def test_I1_lone_surrogates_are_refused(before: str, surrogate: str, after: str) -> None:
    """A lone surrogate anywhere in a key is refused at every door, with an error that can itself be written out."""
    key = (before + surrogate + after)[:300]
    if surrogate not in key:
        key = surrogate
    for made in (lambda: EntityId("a", key), lambda: Account.at(key), lambda: EntityId.parse(f"@a@{key}")):
        with pytest.raises(ValueError, match="lone surrogate") as caught:
            made()
        str(caught.value).encode()


def test_I1_keys_are_not_normalised() -> None:
    """Two spellings of the same letter, composed and decomposed, are two entities; and so are two cases."""
    composed, decomposed = unicodedata.normalize("NFC", "é"), unicodedata.normalize("NFD", "é")
    assert composed != decomposed
    assert EntityId("a", composed) != EntityId("a", decomposed)
    assert EntityId("a", "K") != EntityId("a", "k")
    assert len({EntityId("a", key) for key in (composed, decomposed, "", "\0", " ", "k", "K")}) == 7


# --- I2


@given(name=names, key=keys)
@example(name="a", key="@")
@example(name="a", key="b@c@")
@example(name="a", key="")
def test_I2_round_trip(name: str, key: str) -> None:
    """Printing an id and parsing that gives the id, whatever its key holds."""
    made = EntityId(name, key)
    assert str(made) == f"@{name.lower()}@{key}"
    assert EntityId.parse(str(made)) == made
    assert EntityId.parse(f"@{name}@{key}") == made


@pytest.mark.parametrize("text", ["", "@", "a", "a@b", "@a", "@@b", "@@", " @a@b", "@1a@b", "@a b@c", "ab@c@d"])
def test_I2_what_is_no_id_is_refused(text: str) -> None:
    """Text without the two signs around an allowed name is refused."""
    with pytest.raises(ValueError, match=r"@name@key|no entity name"):
        EntityId.parse(text)


def test_I2_parse_takes_text_only() -> None:
    """Parsing something that is no text is a TypeError."""
    wrong: Any = b"@a@b"
    with pytest.raises(TypeError, match="bytes"):
        EntityId.parse(wrong)


@given(first=st.tuples(names, keys), second=st.tuples(names, keys))
@example(first=("a", "\uffff"), second=("a", "\U00010000"))
@example(first=("a", "b"), second=("a-", ""))
@example(first=("B", "x"), second=("a", "x"))
@example(first=("a", "Z"), second=("a", "a"))
def test_I2_order_is_that_of_the_bytes(first: tuple[str, str], second: tuple[str, str]) -> None:
    """Ids compare as (name, key) do in UTF-8, where UTF-16 and case-blind orders differ; refs and ids alike."""
    one, other = EntityId(*first), EntityId(*second)
    low, high = ((name.lower().encode(), key.encode()) for name, key in (first, second))
    assert (one < other) == (low < high)
    assert (one <= other) == (low <= high)
    assert (one > other) == (low > high)
    assert (one >= other) == (low >= high)
    assert (one == other) == (low == high)


@given(found=st.lists(keys, max_size=8))
def test_I2_refs_and_ids_sort_together(found: list[str]) -> None:
    """A mixture of refs and plain ids sorts into the order of their keys' bytes."""
    mixed: list[EntityId] = [Account.at(key) if place % 2 else EntityId("Account", key) for place, key in enumerate(found)]
    assert [each.key.encode() for each in sorted(mixed)] == sorted(key.encode() for key in found)


@given(key=keys)
def test_I2_a_ref_is_an_id(key: str) -> None:
    """A ref equals the plain id of the same entity, hashes alike, and either finds the other in a dictionary."""
    ref, plain = Account.at(key), EntityId("ACCOUNT", key)
    assert isinstance(ref, EntityRef)
    assert ref.entity is Account
    assert ref == plain
    assert plain == ref
    assert hash(ref) == hash(plain)
    by_ref: dict[EntityId, int] = {ref: 1}
    assert by_ref[plain] == {plain: 1}[ref] == 1


def test_I2_ids_differ_from_other_things() -> None:
    """An id equals no text and no tuple, and cannot be ordered against them."""
    made: Any = EntityId("a", "k")
    assert made != "@a@k"
    assert made != ("a", "k")
    assert EntityId("a", "k") != EntityId("b", "k")
    with pytest.raises(TypeError):
        _ = made < "@a@k"


@pytest.mark.parametrize("made", [EntityId("a", "k"), Account.at("k")])
def test_I2_ids_are_frozen(made: Any) -> None:
    """No attribute of an id can be set, added or deleted."""
    before = (made.name, made.key, made.parts, hash(made))
    for change in ("name", "key", "parts", "other"):
        with pytest.raises(AttributeError, match="frozen"):
            setattr(made, change, "x")
    with pytest.raises(AttributeError, match="frozen"):
        del made.key
    assert (made.name, made.key, made.parts, hash(made)) == before


@given(key=keys)
def test_I2_copies_are_equal(key: str) -> None:
    """Copied or pickled, ids and refs come back equal; a pickle of a ref needs no entity class to be read."""
    for made in (EntityId("a", key), Account.at(key)):
        for again in (copy.copy(made), copy.deepcopy(made), pickle.loads(pickle.dumps(made))):
            assert again == made
            assert hash(again) == hash(made)
    assert b"test_ids" not in pickle.dumps(Account.at(key))


def test_I2_names_of_classes() -> None:
    """A class is addressed by its option ``name`` or else by its own name, folded."""
    assert str(Account.at("x")) == "@account@x"
    assert str(Book.at("x")) == "@ledger.v2@x"


def test_I2_representation_can_be_read_back() -> None:
    """The representation shows how an id or ref is made."""
    assert repr(EntityId("A", "k'")) == "EntityId('a', \"k'\")"
    assert repr(Account.at("k")) == "Account.at('k')"


# --- I3


@pytest.mark.parametrize(
    "instance_id", ["a", "a" * 256, "é" * 200, "あ" * 133 + "a", " ", "a@", "a/b?c#d%", "\u00a0", "\u200b", "\u2028"]
)
def test_I3_instance_ids_at_the_boundaries(instance_id: str) -> None:
    """1 to 256 characters of up to 400 bytes are kept as they are; of odd characters, only controls are refused."""
    assert check_instance_id(instance_id) == instance_id


@pytest.mark.parametrize(
    ("instance_id", "reason"),
    [
        ("", "empty"), ("a" * 257, "256 characters"), ("é" * 201, "400 UTF-8 bytes"), ("あ" * 134, "400 UTF-8 bytes"),
        ("@a", "@"), ("@", "@"), ("a\0", "control"), ("a\n", "control"), ("\t", "control"), ("\x7f", "control"),
        ("a\x80", "control"), ("a\x9fb", "control"), ("\ud800", "lone surrogate"), ("a\udfffb", "lone surrogate"),
    ],
)  # fmt: skip
def test_I3_instance_ids_that_are_refused(instance_id: str, reason: str) -> None:
    """Each kind of id that is not allowed is refused with the rule that it breaks."""
    with pytest.raises(ValueError, match=reason):
        check_instance_id(instance_id)


@given(text=st.text(min_size=1, max_size=300))
def test_I3_any_text(text: str) -> None:
    """Any text is kept exactly as it is, or refused, and what is refused breaks one of the rules."""
    allowed = (
        len(text) <= 256
        and text[0] != "@"
        and not any(unicodedata.category(character) in ("Cc", "Cs") for character in text)
        and len(text.encode()) <= 400
    )
    if allowed:
        assert check_instance_id(text) == text
    else:
        with pytest.raises(ValueError, match="the instance id"):
            check_instance_id(text)


@pytest.mark.parametrize("value", [None, 7, b"a"])
def test_I3_no_text(value: Any) -> None:
    """An instance id that is no text is a TypeError."""
    with pytest.raises(TypeError, match="an instance id is a str"):
        check_instance_id(value)


# --- I4


@pytest.mark.parametrize("name", ["abc", "Abc", "a" * 45, "a12", "TaskHub2"])
def test_I4_hub_names_at_the_boundaries(name: str) -> None:
    """Three to 45 ASCII letters and digits after a letter are a hub's name, compared without regard to case."""
    assert check_hub_name(name) == check_hub_name(name.swapcase()) == name.lower()


@pytest.mark.parametrize(
    "name",
    [
        "",
        "ab",
        "a" * 46,
        "1bc",
        "a_b",
        "a-b",
        "a.b",
        "abc ",
        "abc\n",
        "\u00e4bc",
        "abc\u0661",
        "a/b",
        "ab\u212a",
        "../x",
        "abc\0",
    ],
)
def test_I4_hub_names_that_are_refused(name: str) -> None:
    """Everything else is refused with the rule; nothing that could leave a folder gets through."""
    with pytest.raises(ValueError, match="3 to 45 letters and digits"):
        check_hub_name(name)


def test_I4_no_text() -> None:
    """A hub's name that is no text is a TypeError."""
    with pytest.raises(TypeError, match="NoneType"):
        check_hub_name(None)
