"""Identity: entity ids, instance ids, hub names (I1 to I4).

One function per kind of name checks it, and every door of the hub calls that function, so that no door is
stricter or laxer than another. Names that compare without regard to case (entity names, hub names) are folded
here, once, and are folded everywhere behind.

An :class:`EntityId` is ordered by the bytes of (name, key). UTF-8 keeps the order of code points, so Python's own
comparison of text gives that order without encoding anything.
"""

from __future__ import annotations

import re
import unicodedata
from functools import total_ordering
from typing import Any, Final, Generic, NoReturn, Protocol, TypeVar

ENTITY_NAME_LENGTH_MAX: Final = 100
ENTITY_KEY_BYTES_MAX: Final = 400
INSTANCE_ID_LENGTH_MAX: Final = 256
INSTANCE_ID_BYTES_MAX: Final = 400

_ENTITY_NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,99}")
_HUB_NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9]{2,44}")


class Addressable(Protocol):
    """What an entity class offers here: the name that its entities are addressed by."""

    @classmethod
    def entity_name(cls) -> str:
        """The folded name."""
        ...


E_co = TypeVar("E_co", bound=Addressable, covariant=True)


def check_entity_name(name: object) -> str:
    """Return an entity name in its folded form (I1).

    Raises:
      TypeError: it is no text.
      ValueError: it is not 1 to 100 characters of ``[A-Za-z0-9_.-]`` that start with a letter.
    """
    if not isinstance(name, str):
        raise TypeError(f"an entity name is a str, not {type(name).__name__}: {name!r}")
    if _ENTITY_NAME.fullmatch(name) is None:
        raise ValueError(
            f"{_shown(name)} is no entity name: 1 to {ENTITY_NAME_LENGTH_MAX} characters of [A-Za-z0-9_.-], the first a letter"
        )
    return name.lower()


def check_entity_key(key: object) -> str:
    """Return an entity key as it is (I1).

    Raises:
      TypeError: it is no text.
      ValueError: it has more than 400 UTF-8 bytes, or a lone surrogate.
    """
    if not isinstance(key, str):
        raise TypeError(f"an entity key is a str, not {type(key).__name__}: {key!r}")
    if _utf8_length(key, "entity key") > ENTITY_KEY_BYTES_MAX:
        raise ValueError(f"the entity key {_shown(key)} is longer than {ENTITY_KEY_BYTES_MAX} UTF-8 bytes")
    return key


def check_instance_id(instance_id: object) -> str:
    """Return an instance id as it is (I3).

    Raises:
      TypeError: it is no text.
      ValueError: it is empty, longer than 256 characters or 400 UTF-8 bytes, begins with ``@``, or holds a control
        character or a lone surrogate.
    """
    if not isinstance(instance_id, str):
        raise TypeError(f"an instance id is a str, not {type(instance_id).__name__}: {instance_id!r}")
    if not instance_id:
        raise ValueError("an instance id cannot be empty; leave it out to get a generated one")
    if len(instance_id) > INSTANCE_ID_LENGTH_MAX or _utf8_length(instance_id, "instance id") > INSTANCE_ID_BYTES_MAX:
        raise ValueError(
            f"the instance id {_shown(instance_id)} is too long: at most {INSTANCE_ID_LENGTH_MAX} characters and "
            f"{INSTANCE_ID_BYTES_MAX} UTF-8 bytes"
        )
    if instance_id[0] == "@":
        raise ValueError(f"the instance id {_shown(instance_id)} begins with '@', which marks an entity id")
    if not instance_id.isprintable() and any(unicodedata.category(char) == "Cc" for char in instance_id):
        raise ValueError(f"the instance id {_shown(instance_id)} holds a control character (Unicode category Cc)")
    return instance_id


def check_hub_name(name: object) -> str:
    """Return a task hub's name in its folded form (I4).

    Raises:
      TypeError: it is no text.
      ValueError: it is not 3 to 45 ASCII letters and digits that start with a letter.
    """
    if not isinstance(name, str):
        raise TypeError(f"a task hub name is a str, not {type(name).__name__}: {name!r}")
    if _HUB_NAME.fullmatch(name) is None:
        raise ValueError(f"{_shown(name)} is no task hub name: 3 to 45 letters and digits (ASCII), the first a letter")
    return name.lower()


def check_no_surrogates(text: str, what: str) -> None:
    """Refuse text that holds a lone surrogate.

    Raises:
      ValueError: it does.
    """
    _utf8_length(text, what)


def _utf8_length(text: str, what: str) -> int:
    if text.isascii():
        return len(text)
    try:
        return len(text.encode())
    except UnicodeEncodeError:
        raise ValueError(f"the {what} {_shown(text)} holds a lone surrogate, which is no character") from None


def _shown(text: str) -> str:
    """A value for an error message: escaped, and cut where it is long."""
    return ascii(text) if len(text) <= 120 else f"{text[:120]!a}... ({len(text)} characters)"


@total_ordering
class EntityId:
    """The identity of an entity: a folded name and a key (I1, I2).

    Frozen, hashable, and ordered by the bytes of (name, key). Prints as ``@name@key``.

    Attributes:
      name: the entity's name, folded to lower case.
      key: any text of at most 400 UTF-8 bytes, compared exactly.
      parts: both as a tuple, which dictionaries look up faster than an object with methods of its own.

    Example:
      >>> EntityId("Account", "alice@home")
      EntityId('account', 'alice@home')
      >>> EntityId.parse("@account@alice@home").key
      'alice@home'
    """

    __slots__ = ("key", "name", "parts")
    name: str
    key: str
    parts: tuple[str, str]

    def __init__(self, name: str, key: str) -> None:
        self._set((check_entity_name(name), check_entity_key(key)))

    def _set(self, parts: tuple[str, str]) -> None:
        _put_name(self, parts[0])
        _put_key(self, parts[1])
        _put_parts(self, parts)

    @classmethod
    def of_parts(cls, parts: tuple[str, str]) -> EntityId:
        """An id of a (name, key) that was checked before, such as records hold; nothing is checked again."""
        entity_id = EntityId.__new__(EntityId)
        entity_id._set(parts)
        return entity_id

    @classmethod
    def parse(cls, text: str) -> EntityId:
        """Read the form ``@name@key``; the key is all that follows the first ``@`` after the name (I2).

        Raises:
          TypeError: it is no text.
          ValueError: it does not have that form, or its parts break I1.
        """
        if not isinstance(text, str):  # pyright: ignore[reportUnnecessaryIsInstance] - callers are not always checked
            raise TypeError(f"an entity id is parsed from a str, not {type(text).__name__}")
        name, at, key = text[1:].partition("@")
        if text[:1] != "@" or not at:
            raise ValueError(f"{_shown(text)} is no entity id: it looks like '@name@key'")
        return EntityId(name, key)

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError(f"an EntityId is frozen: {name!r} cannot be set")

    def __delattr__(self, name: str) -> NoReturn:
        raise AttributeError(f"an EntityId is frozen: {name!r} cannot be deleted")

    def __hash__(self) -> int:
        return hash(self.parts)

    def __eq__(self, other: object) -> bool:
        if isinstance(other, EntityId):
            return self.parts == other.parts
        return NotImplemented

    def __lt__(self, other: EntityId) -> bool:
        if isinstance(other, EntityId):  # pyright: ignore[reportUnnecessaryIsInstance] - the protocol of comparison
            return self.parts < other.parts
        return NotImplemented

    def __str__(self) -> str:
        return f"@{self.name}@{self.key}"

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r}, {self.key!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        return (EntityId, self.parts)


# An id is frozen for everybody but its maker: the fields' own setters go past __setattr__, and are the fastest way.
_slots: Any = EntityId.__dict__
_put_name: Final = _slots["name"].__set__
_put_key: Final = _slots["key"].__set__
_put_parts: Final = _slots["parts"].__set__


class EntityRef(EntityId, Generic[E_co]):
    """An entity id that also carries the entity's class, so that operations on it are type-checked.

    Made by ``Account.at(key)``. Equal to, and interchangeable with, the plain :class:`EntityId`.

    Attributes:
      entity: the entity class.
    """

    __slots__ = ("entity",)
    entity: type[E_co]

    def __init__(self, entity: type[E_co], key: str) -> None:
        name = entity.entity_name()
        if type(key) is not str or not key.isascii() or len(key) > ENTITY_KEY_BYTES_MAX:  # few need the full check
            check_entity_key(key)
        _put_entity(self, entity)  # as EntityId._set does, without a call: many are made
        _put_name(self, name)
        _put_key(self, key)
        _put_parts(self, (name, key))

    def __repr__(self) -> str:
        return f"{self.entity.__name__}.at({self.key!r})"


_put_entity: Final[Any] = EntityRef.__dict__["entity"].__set__
