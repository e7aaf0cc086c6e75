"""State evolution: how a state that an older version of its definition saved becomes one of today (E12).

A state is stored with the version of the definition that saved it. Three things can be done with an older one:

- Nothing: attributes that are new take their defaults when the state is decoded, which is all that most changes need.
- ``upgrade``, for everything harder: it gets the stored state as plain data, and returns it as plain data that today's
  version can read. It is called once, with the version that was stored, and takes all the steps from there.
- If neither is enough, the state is unreadable: its bytes are kept as they are, and every operation on it fails.

A state of a *newer* version is never touched: this program cannot know what the newer one means by it. An attribute that
kept its name may have changed its unit.

The state that ``upgrade`` returns is encoded and decoded like any other. So it is checked as strictly, it cannot hold
objects of classes, and nothing that ``upgrade`` refers to (a list of defaults, say) becomes part of two entities.
An upgraded state is stored when an operation next changes the entity; until then each reader upgrades its copy.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, TypeAlias

from ..storage.errors import NotStorable
from ..storage.values import Codec
from .errors import DefinitionError, StateUnreadable
from .failures import qualified_name
from .ids import EntityId

Upgrade: TypeAlias = Callable[[Any, int], Any]
"""From a stored state, as plain data, and the version that saved it, to a state that today's version can read."""


def checked_upgrade(upgrade: Any, version: int, where: str) -> Upgrade:
    """An ``upgrade`` as it is, if it can be called with a state and a version.

    Args:
      upgrade: what is to be called.
      version: today's version.
      where: how errors name it.

    Raises:
      DefinitionError: it is no plain function, takes something else, or would never be called.
    """
    if not callable(upgrade):
        raise DefinitionError(f"{where} is a function of (state, version), not {upgrade!r}")
    if any(kind(upgrade) for kind in (inspect.iscoroutinefunction, inspect.isgeneratorfunction, inspect.isasyncgenfunction)):
        raise DefinitionError(f"{where} is a plain function: it computes one state from another, and waits for nothing")
    try:
        inspect.signature(upgrade).bind({}, 0)
    except TypeError as error:
        raise DefinitionError(
            f"{where} is called with a state and the version that saved it, and does not take that: {error}"
        ) from error
    if version == 0:
        raise DefinitionError(
            f"{where} would never run: states are saved with version 0, the default, and there is none before that. "
            "Count the version up with @entity(version=1), and again whenever stored states are to be upgraded"
        )
    return upgrade


def upgraded(state: bytes, version: int, today: int, upgrade: Upgrade | None, plain: Codec[Any], entity_id: EntityId) -> bytes:
    """A stored state as today's version is to decode it.

    Args:
      state: the stored bytes.
      version: the version that saved them.
      today: the version of the definition.
      upgrade: its ``upgrade``, if it has one.
      plain: the codec of plain data.
      entity_id: whose state it is.

    Raises:
      StateUnreadable: the state is of a newer version, or ``upgrade`` raised, or returned what is no plain data.
      ValueUnreadable: the bytes are no plain data.
    """
    if version > today:
        raise StateUnreadable(
            entity_id,
            f"it was saved by version {version} of its class, and this program has version {today}; run the newer program",
        )
    if version == today or upgrade is None:
        return state
    step = f"upgrade from version {version} to {today}"
    old = plain.decode(state)
    try:
        new = upgrade(old, version)
    except Exception as error:
        said = f"{qualified_name(type(error))}: {error}"
        raise StateUnreadable(entity_id, f"the {step} raised {said}; mend it, and the state can be read") from error
    try:
        return plain.encode(new)
    except NotStorable as error:
        raise StateUnreadable(
            entity_id, f"the {step} did not return plain data, in which an object is a dict by attribute: {error}"
        ) from error
