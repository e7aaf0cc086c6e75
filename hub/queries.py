"""Finding instances and entities: filters, and pages that are stable while things come and go (O16).

A page goes through the directory in the order of its keys, from behind the last key of the page before, which is what
its token says. Whatever exists from the first page to the last is shown once. Each page reads the last commit at its own
moment, a few records at a time, with a checkpoint in between, so that a long query takes nothing from running work.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Generic, TypeVar

import trio
from attrs import field, frozen

from ..entities.ids import EntityId, check_entity_name
from ..entities.record import EntityRecord
from ..orchestration.status import OrchestrationRecord, RuntimeStatus
from ..storage import keys, tables
from ..storage.errors import DamagedRecord
from ..storage.store import CommittedStore
from .payloads import NOTHING_APART, Apart, complete, decode_head
from .records import InstanceRecord

T = TypeVar("T")

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
    return frozenset(map(RuntimeStatus, [value] if isinstance(value, str) else value))


@frozen
class InstanceFilter:
    """Which instances are meant; all conditions must hold, and one that is ``None`` always does.

    Attributes:
      status: one of these runtime statuses.
      created_from, created_to: created at or after the one, before the other; aware datetimes.
      id_prefix: the instance id begins with this.
      name: the orchestrator's name.
      tags: each of these tags, with that value.

    Raises:
      ValueError: a naive datetime, or an unknown status.
    """

    status: frozenset[RuntimeStatus] | None = field(default=None, converter=_statuses)
    created_from: int | None = field(default=None, converter=_microseconds)
    created_to: int | None = field(default=None, converter=_microseconds)
    id_prefix: str = ""
    name: str | None = None
    tags: Mapping[str, str] | None = None

    def matches(self, record: OrchestrationRecord) -> bool:
        """Whether a record is meant; its id has the prefix."""
        return (
            (self.status is None or record.status in self.status)
            and (self.created_from is None or record.created_at >= self.created_from)
            and (self.created_to is None or record.created_at < self.created_to)
            and (self.name is None or record.name == self.name)
            and (self.tags is None or all(record.tags.get(key) == value for key, value in self.tags.items()))
        )


@frozen
class EntityFilter:
    """Which entities are meant; all conditions must hold, and one that is ``None`` always does.

    Attributes:
      name: the entity's name.
      key_prefix: the key begins with this; needs ``name``.
      operated_from, operated_to: last operation at or after the one, before the other; aware datetimes.

    Raises:
      ValueError: a naive datetime, a bad name, or a key prefix without a name.
    """

    name: str | None = field(default=None, converter=lambda name: None if name is None else check_entity_name(name))
    key_prefix: str = ""
    operated_from: int | None = field(default=None, converter=_microseconds)
    operated_to: int | None = field(default=None, converter=_microseconds)

    def __attrs_post_init__(self) -> None:
        if self.key_prefix and self.name is None:
            raise ValueError("key_prefix is given without name; keys are ordered within a name")

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


@frozen
class Found:
    """What a query found, before it is shown to anybody.

    Attributes:
      records: the records.
      token: for those after them.
      unreadable: the ids of those that could not be read, and so not be compared with the filters (D9).
    """

    records: list[InstanceRecord]
    token: str | None
    unreadable: tuple[str, ...]


async def find(
    store: CommittedStore,
    prefix: bytes,
    matches: Callable[[InstanceRecord], bool],
    limit: int,
    token: str | None,
    *,
    include_values: bool = False,
) -> Found:
    """The next records of a query, at most ``limit``, and the token for those after them.

    Large values (:mod:`.payloads`) are read only of what is found, and only if they are asked for; else they are empty.

    Raises:
      ValueError: the limit is out of range, or the token is none of this query's.
    """
    if not 1 <= limit <= PAGE_MAX:
        raise ValueError(f"a page has 1 to {PAGE_MAX} items, not {limit}")
    start, stop = _after(prefix, token), keys.prefix_end(prefix)
    found: list[InstanceRecord] = []
    unreadable: list[str] = []
    while True:
        entries = _directory(store, start, stop)
        for key, number in entries:
            try:
                record, apart = _matching(store, key, number, matches, include_values)
            except DamagedRecord as error:
                _log.error("%s is left out of a query: %s", _id_of(key), error)
                unreadable.append(_id_of(key))
                continue
            if apart:
                await trio.lowlevel.checkpoint()  # reading large values takes as long as many records
            if record is not None:
                found.append(record)
                if len(found) == limit:
                    more = store.keys(tables.DIRECTORY, key + b"\0", stop, 1)
                    return Found(found, key.hex() if more else None, tuple(unreadable))
        if len(entries) < _AT_A_TIME:
            return Found(found, None, tuple(unreadable))
        start = entries[-1][0] + b"\0"
        await trio.lowlevel.checkpoint()


def _directory(store: CommittedStore, start: bytes, stop: bytes | None) -> list[tuple[bytes, bytes | None]]:
    """The next entries; without their numbers if one of them is unreadable, since a scan does not tell which."""
    try:
        return [*store.scan(tables.DIRECTORY, start, stop, _AT_A_TIME)]
    except DamagedRecord:
        return [(key, None) for key in store.keys(tables.DIRECTORY, start, stop, _AT_A_TIME)]


def _matching(
    store: CommittedStore, key: bytes, number: bytes | None, matches: Callable[[InstanceRecord], bool], include_values: bool
) -> tuple[InstanceRecord | None, Apart]:
    number = store.get(tables.DIRECTORY, key) if number is None else number
    row = None if number is None else store.get(tables.INSTANCES, number)
    record = None if row is None else decode_head(row)
    if number is None or record is None or not matches(record):
        return None, NOTHING_APART
    if not include_values:
        return record, NOTHING_APART
    return complete(store, number, row) or (None, NOTHING_APART)


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
      last_operation_at: when its last operation ended, aware UTC.
      state: a copy of its state; ``None`` if states were not asked for.
    """

    entity_id: EntityId
    last_operation_at: datetime
    state: Any


async def pages(next_page: Callable[[str | None], Any]) -> AsyncIterator[Any]:
    """The items of all pages, one after another."""
    token: str | None = None
    while True:
        page: Page[Any] = await next_page(token)
        for item in page.items:
            yield item
        token = page.token
        if token is None:
            return
