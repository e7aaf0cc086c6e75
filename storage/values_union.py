"""Hooks of ``Optional``, ``Union``, ``Literal`` and enums.

A union writes by the exact class of the value, so its members must be of different classes; two that are not
(``list[int] | list[str]``) are refused when the type is first used. Its form:

- single values, lists and None have their own form: reading sees what they are;
- every other member is ``[mark, form]``, with a mark that names the member (:class:`~.values_any.Tag`): its class's
  name, with the module if two members share it. So members may be added, removed and moved, but not renamed;
- ``Optional[X]`` has ``X``'s own form or None, so that a type can become optional later.

An enum member is stored by name, not by value: values shift when ``auto()`` counts anew, and need not be storable.
A renamed member can stay as an alias. A flag is stored as the list of its single bits' names, with an int behind them
for bits that have none. A literal is stored as what it is; enum members among literals as of an enum with only those.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from enum import Enum, Flag
from typing import Any, Literal, cast, get_args, get_origin

import msgspec
from cattrs import Converter

from .values_any import PLAIN, Tag, tag_mark
from .values_containers import container_class
from .values_hooks import (
    ANYTHING_READER,
    ANYTHING_WRITER,
    LEAF_CLASSES,
    Reader,
    Writer,
    does_nothing_on,
    is_leaf_hook,
    is_ours,
    ours,
    reader_of,
    writer_of,
)
from .values_refusal import Refusal, class_of, describe, type_name, unfit, wrong
from .values_types import bare, is_anything, is_typed_dict, is_union

_NONE = type(None)


class Member(msgspec.Struct, frozen=True):
    """One member of a union.

    Attributes:
      type: the member as declared.
      classes: the exact classes of its values.
      write: its writer.
      read: its reader.
      marked: its form needs a mark.
      by_hook: a user's hook handles it, which may accept subclasses.
    """

    type: Any
    classes: frozenset[type]
    write: Writer
    read: Reader
    marked: bool
    by_hook: bool = False


def union_writer(tp: Any, converter: Converter) -> Writer:
    """Writer of a union."""
    members = _members(tp, converter)
    if not members:
        return ANYTHING_WRITER
    marked = [member for member in members if member.marked]
    if len(marked) == 1 and all(member.marked or _NONE in member.classes for member in members):
        return _optional_writer(tp, marked[0]) if len(members) > 1 else marked[0].write
    table: dict[type, Writer] = {}
    skipped: frozenset[type] = frozenset()
    fallbacks: list[tuple[Any, Writer]] = []
    for member in members:
        write = _marking(tag_mark(_tag(member, marked)), member.write) if member.marked else member.write
        table |= dict.fromkeys(member.classes, write)
        if not member.marked:
            skipped |= does_nothing_on(member.write)
        if member.by_hook:
            fallbacks.append((member.type, write))
    if float in table and int not in table:
        table[int] = table[float]

    def write_union(value: Any) -> Any:
        write = table.get(class_of(value))
        if write is None:
            write = next((write for cls, write in fallbacks if isinstance(value, cls)), None)
            if write is None:
                raise wrong(value, tp, "one of its members")
        return write(value)

    return ours(write_union, skipped)


def union_reader(tp: Any, converter: Converter) -> Reader:
    """Reader of a union."""
    members = _members(tp, converter)
    if not members:
        return ANYTHING_READER
    marked = [member for member in members if member.marked]
    if len(marked) == 1 and all(member.marked or _NONE in member.classes for member in members):
        return _optional_reader(marked[0]) if len(members) > 1 else marked[0].read
    by_class: dict[type, tuple[Reader, Any]] = {}
    by_tag: dict[str, tuple[Reader, Any]] = {}
    skipped: frozenset[type] = frozenset()
    for member in members:
        entry = (member.read, member.type)
        if not member.marked:
            by_class |= dict.fromkeys(member.classes, entry)
            skipped |= does_nothing_on(member.read)
            continue
        by_tag[_full_name(member)] = entry
        by_tag[_tag(member, marked)] = entry
        if container_class(bare(member.type)) and is_ours(member.read):
            # Not of our writing: a value that was stored without its type.
            by_class |= dict.fromkeys(member.classes, entry)
    if float in by_class and int not in by_class:
        by_class[int] = by_class[float]

    def read_union(form: Any, _tp: Any = None) -> Any:
        if class_of(form) is list and len(form) == 2 and class_of(form[0]) is Tag:
            entry = by_tag.get(form[0].name)
            if entry is None:
                raise Refusal(f"a {form[0].name} is stored, which is no member of {type_name(tp)}. Declare it again")
            return entry[0](form[1], entry[1])
        entry = by_class.get(class_of(form))
        if entry is None:
            raise unfit(form, tp)
        return entry[0](form, entry[1])

    return ours(read_union, skipped)


def _optional_writer(tp: Any, member: Member) -> Writer:
    write = member.write

    def write_optional(value: Any) -> Any:
        if value is None:
            return None
        form = write(value)
        if form is None:
            hook = f"the hook of {type_name(member.type)}"
            raise Refusal(f"{hook} made None of {describe(value)}, which {type_name(tp)} would read as None")
        return form

    return ours(write_optional, frozenset({_NONE}) | does_nothing_on(write))


def _optional_reader(member: Member) -> Reader:
    read, declared = member.read, member.type

    def read_optional(form: Any, _tp: Any = None) -> Any:
        return None if form is None else read(form, declared)

    return ours(read_optional, frozenset({_NONE}))


def _marking(mark: Any, write: Writer) -> Writer:
    return lambda value: [mark, write(value)]


def _full_name(member: Member) -> str:
    plain = bare(member.type)
    cls = container_class(plain) or get_origin(plain) or plain
    return f"{cls.__module__}.{cls.__qualname__}"


def _tag(member: Member, marked: list[Member]) -> str:
    full = _full_name(member)
    name = full.rpartition(".")[2]
    return full if sum(_full_name(other).rpartition(".")[2] == name for other in marked) > 1 else name


def _members(tp: Any, converter: Converter) -> list[Member]:
    """The members with different classes; none if they are the values of the self-describing form (``Any | None``)."""
    literals: list[Any] = []
    members: list[Member] = []
    for declared in _flat(tp):
        plain = bare(declared)
        if get_origin(plain) is Literal:
            literals += get_args(plain)
        else:
            members.append(_member(declared, plain, converter))
    known = [member for member in members if not is_anything(bare(member.type))]
    if len(known) < len(members):
        if not any(member.marked for member in known):
            return []
        raise Refusal(f"{type_name(tp)} has Any or object as a member, which takes in the others; declare one or the other")
    taken: dict[type, Member] = {}
    distinct: list[Member] = []
    for member in members:
        others = {id(other): other for cls in member.classes if (other := taken.get(cls))}
        if any(other.write is not member.write for other in others.values()):
            (other, *_) = others.values()
            raise Refusal(
                f"the members {type_name(other.type)} and {type_name(member.type)} of {type_name(tp)} cannot be told apart by "
                "the class of a value. Put them in classes of your own"
            )
        if not others:
            distinct.append(member)
            taken |= dict.fromkeys(member.classes, member)
    return distinct + [member for member in _literal_members(literals) if not member.classes <= taken.keys()]


def _flat(tp: Any) -> Iterator[Any]:
    if get_origin(tp) is Literal:
        yield tp
        return
    for argument in get_args(tp):
        plain = bare(argument)
        if is_union(plain):
            yield from _flat(plain)
        else:
            yield argument


def _member(declared: Any, plain: Any, converter: Converter) -> Member:
    write, read = writer_of(converter, declared), reader_of(converter, declared)
    by_hook = not (is_ours(write) and is_ours(read))
    classes = LEAF_CLASSES.get(plain) if get_origin(plain) is None else None
    if classes is None:
        cls = dict if is_typed_dict(get_origin(plain) or plain) else container_class(plain) or get_origin(plain) or plain
        classes = frozenset({cls})
    plain_form = (is_leaf_hook(write) and is_leaf_hook(read)) or (container_class(plain) is list and not by_hook)
    # (a list has its own form, which no mark can be mistaken for)
    return Member(declared, classes, write, read, not plain_form, by_hook and isinstance(plain, type))


def _literal_members(values: list[Any]) -> list[Member]:
    by_class: dict[type[Any], list[Any]] = {}
    for value in values:
        by_class.setdefault(class_of(value), []).append(value)
    members: list[Member] = []
    for cls, allowed in by_class.items():
        declared: Any = cast("Any", Literal)[tuple(allowed)]
        if issubclass(cls, Enum):
            only = {member.name for member in allowed}
            members.append(Member(cls, frozenset({cls}), _enum_writer(cls, only), _enum_reader(cls, only), marked=True))
        elif cls in PLAIN and cls is not float:
            write, read = _one_of(declared, allowed, wrong), _one_of(declared, allowed, unfit)
            members.append(Member(declared, frozenset({cls}), write, read, marked=False))
        else:
            raise Refusal(f"a literal is None, a bool, int, str, bytes or a member of an enum, not {describe(allowed[0])}")
    return members


def _one_of(declared: Any, allowed: list[Any], refuse: Callable[[Any, Any], Refusal]) -> Any:
    cls = class_of(allowed[0])
    values = frozenset(allowed)

    def check(value: Any, _tp: Any = None) -> Any:
        if class_of(value) is not cls or value not in values:
            raise refuse(value, declared)
        return value

    return ours(check, frozenset({_NONE}) if cls is _NONE else frozenset[type]())


def enum_writer(tp: Any, _converter: Converter) -> Writer:
    """Writer of an enum."""
    return _flag_writer(tp) if issubclass(tp, Flag) else _enum_writer(tp, None)


def enum_reader(tp: Any, _converter: Converter) -> Reader:
    """Reader of an enum."""
    return _flag_reader(tp) if issubclass(tp, Flag) else _enum_reader(tp, None)


def _enum_writer(cls: type[Enum], only: set[str] | None) -> Writer:
    def write(value: Any) -> str:
        if class_of(value) is not cls:
            raise wrong(value, cls)
        if only is not None and value._name_ not in only:
            raise Refusal(f"{cls.__name__}.{value._name_} is none of the declared literals: {', '.join(sorted(only))}")
        return value._name_

    return ours(write)


def _enum_reader(cls: type[Enum], only: set[str] | None) -> Reader:
    members = {name: member for name, member in cls.__members__.items() if only is None or member.name in only}

    def read(form: Any, _tp: Any = None) -> Enum:
        member = members.get(form) if class_of(form) is str else None
        if member is None:
            raise Refusal(
                f"what is stored is {describe(form)}, which is not among the names of {cls.__name__}: "
                f"{', '.join(members)}. A renamed member can stay readable as an alias"
            )
        return member

    return ours(read)


def _flag_writer(cls: type[Flag]) -> Writer:
    bits: list[tuple[str, int]] = [(member.name or "", member.value) for member in cls]
    read = _flag_reader(cls)

    def write(value: Any) -> list[Any]:
        if class_of(value) is not cls:
            raise wrong(value, cls)
        rest = value.value
        form: list[Any] = []
        for name, bit in bits:
            if rest & bit == bit:
                form.append(name)
                rest &= ~bit
        if rest:
            form.append(rest)
        if read(form, cls) != value:
            raise Refusal(f"{describe(value)} of value {value.value} is not the sum of its bits, and would come back as another")
        return form

    return ours(write)


def _flag_reader(cls: type[Flag]) -> Reader:
    members = cls.__members__

    def read(form: Any, _tp: Any = None) -> Flag:
        if class_of(form) is not list:
            raise unfit(form, cls)
        total = 0
        for bit in form:
            if class_of(bit) is int:
                total |= bit
            elif class_of(bit) is str and bit in members:
                total |= members[bit].value
            else:
                names = ", ".join(members)
                raise Refusal(f"what is stored holds {describe(bit)}, which is not among the names of {cls.__name__}: {names}")
        return cls(total)

    return ours(read)
