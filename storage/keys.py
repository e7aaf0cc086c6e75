"""How numbers, names and ids become keys that sort as they do.

Numbers are big-endian and of fixed width, so that the order of the bytes is the order of the numbers. A user's text
stands only in the directory, as UTF-8 and last in the key, where it needs no escaping: UTF-8 sorts as the code
points do, and the zero byte between an entity's name and key sorts below every character that a name may have, so
that directory keys sort as entity ids do (I2).
"""

from __future__ import annotations

from .tables import ENTITY_KIND, ORCHESTRATION_KIND

_SEPARATOR = b"\0"


def u64(number: int) -> bytes:
    """Eight bytes that sort as the number.

    Raises:
      OverflowError: the number is negative or needs more than 64 bits.
    """
    return number.to_bytes(8, "big")


def u32(number: int) -> bytes:
    """Four bytes that sort as the number.

    Raises:
      OverflowError: the number is negative or needs more than 32 bits.
    """
    return number.to_bytes(4, "big")


def read_u64(key: bytes, offset: int = 0) -> int:
    """The number that :func:`u64` wrote at ``offset``.

    Raises:
      ValueError: the key ends before it.
    """
    field = key[offset : offset + 8]
    if len(field) != 8:
        raise ValueError(f"the key {key.hex()} has no 8-byte number at offset {offset}: it is {len(key)} bytes long")
    return int.from_bytes(field, "big")


def read_u32(key: bytes, offset: int = 0) -> int:
    """The number that :func:`u32` wrote at ``offset``.

    Raises:
      ValueError: the key ends before it.
    """
    field = key[offset : offset + 4]
    if len(field) != 4:
        raise ValueError(f"the key {key.hex()} has no 4-byte number at offset {offset}: it is {len(key)} bytes long")
    return int.from_bytes(field, "big")


def prefix_end(prefix: bytes) -> bytes | None:
    """The smallest key above all keys that begin with ``prefix``; ``None`` if there is no such key.

    It is the ``stop`` that belongs to ``start=prefix`` in a scan: ``None`` there means the end of the table.
    """
    kept = prefix.rstrip(b"\xff")
    if not kept:
        return None
    return kept[:-1] + bytes((kept[-1] + 1,))


def entity_key(name: str, key: str) -> bytes:
    """The directory key of an entity.

    Raises:
      ValueError: the name holds a zero character, which separates name and key here, or one of them has a lone
          surrogate. Entity ids are checked before they come here (I1).
    """
    encoded = name.encode()
    if _SEPARATOR in encoded:
        raise ValueError(f"the entity name {name!r} holds a zero character; names are letters, digits and '_.-'")
    return ENTITY_KIND + encoded + _SEPARATOR + key.encode()


def orchestration_key(instance_id: str) -> bytes:
    """The directory key of an orchestration instance.

    Raises:
      ValueError: the id has a lone surrogate. Instance ids are checked before they come here (I3).
    """
    return ORCHESTRATION_KIND + instance_id.encode()


def read_entity_key(directory_key: bytes) -> tuple[str, str]:
    """Name and key of the entity that :func:`entity_key` made this of.

    Raises:
      ValueError: it is no entity's key.
    """
    name, separator, key = directory_key[1:].partition(_SEPARATOR)
    if directory_key[:1] != ENTITY_KIND or not separator:
        raise ValueError(f"{directory_key!r} is no directory key of an entity: it lacks the kind or the separator")
    return name.decode(), key.decode()


def read_orchestration_key(directory_key: bytes) -> str:
    """The instance id that :func:`orchestration_key` made this of.

    Raises:
      ValueError: it is no orchestration's key.
    """
    if directory_key[:1] != ORCHESTRATION_KIND:
        raise ValueError(f"{directory_key!r} is no directory key of an orchestration: it lacks the kind")
    return directory_key[1:].decode()
