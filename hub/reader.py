"""Looking at a hub that another process runs (D5): for command lines, dashboards and reports.

It has the verbs of :class:`TaskHub` that only read, and they are the same code. Each reads the last commit at its own moment,
in transactions of some microseconds; nothing is waited for, and the process that runs the hub notices nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self, overload

import trio

from ..entities.ids import EntityId, check_hub_name, check_instance_id
from ..orchestration.registry import Registry
from ..storage.coded_store import CodedReads
from ..storage.lmdb_reader import LmdbReader
from ..storage.record_codec import RecordCodec, check_codec
from ..storage.values import Values
from .describing import EntityDescription, InstanceDescription
from .describing_stored import describe_stored_entity, describe_stored_instance
from .entity_verbs import EntityReadVerbs
from .errors import HubClosed
from .letter_verbs import LetterReadVerbs
from .query_verbs import QueryVerbs
from .random_ids import new_instance_id

if TYPE_CHECKING:
    import cattrs

    from ..storage.store import CommittedStore


class HubReader(EntityReadVerbs, LetterReadVerbs, QueryVerbs):
    """A hub to look at: its statuses, histories, states and letters as of the last commit.

    An async context manager. It does not become the owner, runs nothing and changes nothing; the hub may be running, in another
    process, or not. In the process that runs it, ask its :class:`TaskHub`.

    Args:
      name: the hub's name (I4).
      definitions: as for :class:`TaskHub`. Needed only to get values as the objects of their classes: entity states, and the
        inputs and outputs of orchestrators that declare types.
      storage: the folder that the hub's :class:`TaskHub` was given.
      codec: the hub's codec, if it has one.
      converter: as for :class:`TaskHub`.

    Raises:
      ValueError, TypeError: the name is not allowed.
      DefinitionError: something is no definition, or an unusable one.

    Example:
      async with HubReader("Bank", storage="bank.db") as bank:
          async for status in bank.iter_instances(status="Failed", include_values=False):
              print(status.instance_id, status.failure)
    """

    def __init__(
        self,
        name: str,
        definitions: Iterable[object] = (),
        *,
        storage: str | Path,
        codec: RecordCodec | None = None,
        converter: cattrs.Converter | None = None,
    ) -> None:
        self._name = check_hub_name(name)
        self._registry = Registry(Values(converter), new_instance_id)
        self._registry.define(definitions)
        self._codec = codec
        self._reader = LmdbReader(Path(storage) / self._name)
        self._store: CommittedStore | None = None

    def __repr__(self) -> str:
        return f"<HubReader {self._name!r}>"

    @property
    def name(self) -> str:
        """The hub's name, folded to lower case (I4)."""
        return self._name

    @property
    def commit_number(self) -> int:
        """How many batches the hub has committed; it rises with each change.

        Raises:
          HubClosed, ForkedHub, StorageUnusable: as for the other verbs.
        """
        self._committed()
        return self._reader.commit_number

    async def __aenter__(self) -> Self:
        """Begin to read.

        Raises:
          StorageUnusable: there is no such hub, it cannot be read, or its codec or keys are others.
          HubInUse: this process runs the hub itself.
          RuntimeError: it is open.
        """
        if self._store is not None:
            raise RuntimeError(f"the reader of hub {self._name!r} is open already")
        await trio.lowlevel.checkpoint()
        self._reader.open()
        try:
            check_codec(self._reader, self._codec, new=self._reader.commit_number == 0)
        except BaseException:
            self._reader.close()
            raise
        self._store = self._reader if self._codec is None else CodedReads(self._reader, self._codec)
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Stop reading."""
        self._store = None
        self._reader.close()

    def _committed(self) -> CommittedStore:
        if self._store is None:
            raise HubClosed(f"the reader of hub {self._name!r} is not open: use it inside 'async with HubReader(...) as reader'")
        self._reader.check()
        return self._store

    @overload
    async def describe(self, target: EntityId) -> EntityDescription: ...
    @overload
    async def describe(self, target: str) -> InstanceDescription: ...
    async def describe(self, target: EntityId | str) -> EntityDescription | InstanceDescription:
        """Why an entity or an orchestration is where it is, as of the last commit (L9).

        No code is run for it. So what an orchestration waits for does not name events, its unread events are those that have
        not reached its code, and an async operation that runs is shown as one that waits.

        Args:
          target: an entity id, such as ``Account.at("alice")``, or an instance id.

        Raises:
          InstanceNotFound: there is no such instance. (An entity that does not exist is described as such.)
          TypeError, ValueError: it is neither, or not allowed.
          DamagedRecord: something of it is damaged on disk (D9).
          HubClosed: the reader is not open.
        """
        await trio.lowlevel.checkpoint()
        store = self._committed()
        with self._reader.snapshot():
            if isinstance(target, EntityId):
                return describe_stored_entity(store, self._registry, target)
            return describe_stored_instance(store, self._registry, check_instance_id(target))
