"""Finding what is stored: filters, and pages that are stable while things come and go (O16).

A page goes through a table in the order of its keys, from behind the last key of the page before, which is what its
token says. So the last page costs what the first one does, and whatever exists from the first page to the last is shown
once. Each page reads the last commit at its own moment, a few records at a time, with a checkpoint in between, so that a
long query takes nothing from running work, and its memory is that of one page.

A record that is damaged on disk is reported in the log and left out; it does not keep the others from being found (D9).
"""

from __future__ import annotations

import itertools
import logging
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Generic, Self, TypeVar

import trio
from attrs import frozen

from ..entities.errors import StateUnreadable, UnknownEntity
from ..entities.failures import one_line
from ..entities.ids import EntityId, check_entity_name, check_no_surrogates
from ..entities.record import EntityRecord
from ..orchestration.status import OrchestrationRecord, RuntimeStatus
from ..storage import keys, tables
from ..storage.errors import DamagedRecord
from ..storage.store import CommittedStore
from .payloads import complete, decode_head

T = TypeVar("T")
K = TypeVar("K", EntityRecord, OrchestrationRecord)
_log = logging.getLogger(__name__)

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_AT_A_TIME: Final = 64
PAGE_MAX: Final = 10_000


@frozen
class Page(Generic[T]):
    """One page of a query.

    Attributes:
      items: what was found.
      token: give it back for the next page; ``None`` on the last one.
      unreadable: the ids of those on the way whose record is damaged, or whose key is not known; they are logged, and cannot
        be compared with the conditions (D9).
    """

    items: list[T]
    token: str | None
    unreadable: tuple[str, ...] = ()


def _microseconds(time: datetime | None) -> int | None:
    if time is None:
        return None
    if time.tzinfo is None:
        raise ValueError(f"{time!r} is naive: a point in time is an aware datetime")
    return (time - _EPOCH) // timedelta(microseconds=1)


def _statuses(value: Iterable[RuntimeStatus | str] | RuntimeStatus | str | None) -> frozenset[RuntimeStatus] | None:
    if value is None:
        return None
    try:
        return frozenset(map(RuntimeStatus, [value] if isinstance(value, str) else value))
    except ValueError as error:
        raise ValueError(f"{error}; there are: {', '.join(RuntimeStatus)}") from None


def _text(value: object, what: str) -> None:
    if not isinstance(value, str):
        raise TypeError(f"{what} is a str, not {type(value).__name__}: {value!r}")
    check_no_surrogates(value, what)


class InstanceFilter:
    """Which instances are meant; all conditions must hold, and one that is ``None`` always does.

    Args:
      status: one of these runtime statuses.
      created_from, created_to: created at or after the one, before the other; aware datetimes.
      id_prefix: the instance id begins with this.
      name: the orchestrator's name.
      tags: each of these tags, with that value.

    Raises:
      ValueError: a naive datetime, an unknown status, or text with a lone surrogate.
      TypeError: the prefix, the name or a tag is no text.
    """

    def __init__(
        self,
        status: Iterable[RuntimeStatus | str] | RuntimeStatus | str | None,
        created_from: datetime | None,
        created_to: datetime | None,
        id_prefix: str,
        name: str | None,
        tags: Mapping[str, str] | None,
    ) -> None:
        _text(id_prefix, "id_prefix")
        if name is not None:
            _text(name, "name")
        if tags is not None:
            if not isinstance(tags, Mapping):  # pyright: ignore[reportUnnecessaryIsInstance] - callers are not always checked
                raise TypeError(f"tags is a mapping of str to str, not {type(tags).__name__}: {tags!r}")
            for tag in itertools.chain(tags, tags.values()):
                _text(tag, "a tag")
        self.status = _statuses(status)
        self.created_from = _microseconds(created_from)
        self.created_to = _microseconds(created_to)
        self.id_prefix = id_prefix
        self.name = name
        self.tags = tags

    def matches(self, record: OrchestrationRecord) -> bool:
        """Whether a record is meant; its id has the prefix."""
        return (
            (self.status is None or record.status in self.status)
            and (self.created_from is None or record.created_at >= self.created_from)
            and (self.created_to is None or record.created_at < self.created_to)
            and (self.name is None or record.name == self.name)
            and (self.tags is None or all(record.tags.get(key) == value for key, value in self.tags.items()))
        )


class EntityFilter:
    """Which entities are meant; all conditions must hold, and one that is ``None`` always does.

    Args:
      name: the entity's name.
      key_prefix: the key begins with this; needs ``name``.
      operated_from, operated_to: last operation at or after the one, before the other; aware datetimes.

    Raises:
      ValueError: a naive datetime, a bad name, a key prefix without a name, or with a lone surrogate.
      TypeError: the name or the key prefix is no text.
    """

    def __init__(self, name: str | None, key_prefix: str, operated_from: datetime | None, operated_to: datetime | None) -> None:
        _text(key_prefix, "key_prefix")
        if key_prefix and name is None:
            raise ValueError("key_prefix is given without name; keys are ordered within a name")
        self.name = None if name is None else check_entity_name(name)
        self.key_prefix = key_prefix
        self.operated_from = _microseconds(operated_from)
        self.operated_to = _microseconds(operated_to)

    def matches(self, record: EntityRecord) -> bool:
        """Whether a record is meant: of an entity that exists; its id has the prefix."""
        return (
            record.state is not None
            and (self.operated_from is None or record.operated_at >= self.operated_from)
            and (self.operated_to is None or record.operated_at < self.operated_to)
        )

    @property
    def prefix(self) -> bytes:
        """What the directory keys of the entities begin with."""
        return tables.ENTITY_KIND if self.name is None else keys.entity_key(self.name, self.key_prefix)


async def find(
    store: CommittedStore,
    table: str,
    prefix: bytes,
    pick: Callable[[bytes, bytes], T | None],
    limit: int,
    token: str | None,
    name_of: Callable[[bytes], str] = bytes.hex,
) -> Page[T]:
    """The next page of a query.

    Args:
      store: the store.
      table: the table to go through.
      prefix: what the keys begin with.
      pick: what is found in a record, given as key and value; ``None`` if it is not meant. It is called for a few records
        between two checkpoints, so what takes time is best done in it, not with the whole page.
      limit: at most that many items, 1 to 10,000.
      token: the token of the page before, ``None`` for the first page.
      name_of: what people call the record of a key.

    Raises:
      ValueError: the limit is out of range, or the token is none of this query's.
    """
    if type(limit) is not int or not 1 <= limit <= PAGE_MAX:
        raise ValueError(f"a page has 1 to {PAGE_MAX} items, not {limit!r}")
    start, stop = _after(prefix, token), keys.prefix_end(prefix)
    found: list[T] = []
    unreadable: list[str] = []
    while True:
        await trio.lowlevel.checkpoint()
        some, last = _next_records(store, table, start, stop)
        for key, value in some:
            try:
                item = pick(key, store.get(table, key) or b"" if value is None else value)
            except DamagedRecord as error:
                _log.error("%s is left out of a query: %s", one_line(name_of(key)), error)
                unreadable.append(name_of(key))
                continue
            if item is not None:
                found.append(item)
                if len(found) == limit:
                    more = store.keys(table, key + b"\0", stop, 1)
                    return Page(found, key.hex() if more else None, tuple(unreadable))
        if last is None:
            return Page(found, None, tuple(unreadable))
        start = last + b"\0"


def _next_records(
    store: CommittedStore, table: str, start: bytes, stop: bytes | None
) -> tuple[Sequence[tuple[bytes, bytes | None]], bytes | None]:
    """A few records, and the key behind which the next ones are, ``None`` at the end.

    They come without their values if one of them is unreadable, since a scan does not tell which.
    """
    try:
        some: Sequence[tuple[bytes, bytes | None]] = store.scan(table, start, stop, _AT_A_TIME)
    except DamagedRecord:
        some = [(key, None) for key in store.keys(table, start, stop, _AT_A_TIME)]
    return some, some[-1][0] if len(some) == _AT_A_TIME else None


async def find_instances(
    store: CommittedStore,
    kind: type[K],
    prefix: bytes,
    matches: Callable[[K], bool],
    show: Callable[[K], T],
    limit: int,
    token: str | None,
    *,
    include_values: bool = False,
) -> Page[T]:
    """The next page of what ``show`` makes of entities or orchestrations, in the order of their ids; see :func:`find`.

    ``kind`` is the class of their records. Large values (:mod:`.payloads`) are read only of what is found, and only if they are
    asked for; else they are empty.
    """

    def pick(_: bytes, number: bytes) -> T | None:
        row = store.get(tables.INSTANCES, number)
        record = None if row is None else decode_head(row)
        if not isinstance(record, kind) or not matches(record):
            return None
        if include_values:
            whole, _apart = complete(store, number, row) or (None, None)
            return show(whole) if isinstance(whole, kind) else None
        return show(record)

    return await find(store, tables.DIRECTORY, prefix, pick, limit, token, _id_of)


def _id_of(key: bytes) -> str:
    if key[:1] == tables.ENTITY_KIND:
        return str(EntityId.of_parts(keys.read_entity_key(key)))
    return keys.read_orchestration_key(key)


def _after(prefix: bytes, token: str | None) -> bytes:
    if token is None:
        return prefix
    try:
        key = bytes.fromhex(token)
    except (ValueError, TypeError):
        raise ValueError(f"{token!r} is no token of a page") from None
    if not key.startswith(prefix):
        raise ValueError("the token belongs to another query: give it back with the same filters")
    return key + b"\0"


@frozen
class EntityInfo:
    """An entity in a page.

    Attributes:
      entity_id: which one.
      last_operation_at: when its last operation that went well ended, aware UTC.
      state: a copy of its state; ``None`` if states were not asked for, or this one cannot be read.
      error: why the state cannot be read: no class of that name is defined to this hub, or it does not fit the class.
    """

    entity_id: EntityId
    last_operation_at: datetime
    state: Any
    error: StateUnreadable | UnknownEntity | None = None


class Pages(Generic[T]):
    """The items of all pages, one after another: an async iterator, which may be left at any point.

    No async generator: one that is left early has to be closed, and Trio warns of each that is not.
    """

    def __init__(self, next_page: Callable[[str | None], Awaitable[Page[T]]]) -> None:
        self._next_page = next_page
        self._page: Page[T] | None = None
        self._items: Iterator[T] = iter(())

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> T:
        while True:
            for item in self._items:
                return item
            if self._page is not None and self._page.token is None:
                raise StopAsyncIteration
            self._page = await self._next_page(None if self._page is None else self._page.token)
            self._items = iter(self._page.items)
