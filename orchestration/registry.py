"""The definitions of a hub, by name, and what follows from them: codecs, and the checks of a call's arguments.

A name stands for one definition; a second one of the same kind is refused. Orchestrators may have several versions side by
side: an instance stays on the one that it was started with. Definitions are given as classes and decorated functions, or
as modules that hold them.
"""

from __future__ import annotations

import inspect
import types
from collections.abc import Callable, Coroutine, Iterable
from functools import partial
from typing import Any, cast

import msgspec

from ..entities.class_definition import define_class
from ..entities.definition import EntityDefinition, OperationDefinition, signature_codecs
from ..entities.entity import Entity
from ..entities.errors import DefinitionError, UnknownEntity
from ..entities.failures import FailureDetails
from ..entities.function import FunctionEntity, define_function
from ..entities.ids import EntityId, check_no_surrogates
from ..storage.values import Codec, Values
from .definition import Activity, Orchestrator
from .errors import ActivityFailed, UnknownActivity, UnknownOrchestrator


class OrchestratorDefinition(msgspec.Struct, frozen=True):
    """An orchestrator, ready to run.

    Attributes:
      name: its name.
      version: its version, if it has one.
      function: the async function.
      arguments: the codec of its arguments after the context.
      result: the codec of its result.
    """

    name: str
    version: str | None
    function: Callable[..., Coroutine[Any, Any, Any]]
    arguments: Codec[tuple[Any, ...]]
    result: Codec[Any]

    def coroutine(self, context: Any, arguments: tuple[Any, ...]) -> Coroutine[Any, Any, Any]:
        """A fresh coroutine of the function."""
        return self.function(context, *arguments)


class ActivityDefinition(msgspec.Struct, frozen=True):
    """An activity, ready to run.

    Attributes:
      activity: what was decorated.
      arguments: the codec of its arguments.
      result: the codec of its result.
      failed: makes the error of a failure.
    """

    activity: Activity[Any, *tuple[Any, ...]]
    arguments: Codec[tuple[Any, ...]]
    result: Codec[Any]
    failed: Callable[[FailureDetails], ActivityFailed]


class Registry:
    """The definitions of one hub.

    Attributes:
      values: the hub's converter.
      entities, activities: definitions by name; ``orchestrators``: by name and version.
    """

    def __init__(self, values: Values, new_instance_id: Callable[[], str]) -> None:
        self.values = values
        self.entities: dict[str, EntityDefinition] = {}
        self.orchestrators: dict[tuple[str, str | None], OrchestratorDefinition] = {}
        self.activities: dict[str, ActivityDefinition] = {}
        self.new_instance_id = new_instance_id
        self._provided: dict[str, Callable[[], Activity[Any, *tuple[Any, ...]]]] = {}
        self._operations: dict[tuple[str, object], OperationDefinition] = {}
        self._strangers: dict[Callable[..., Any], ActivityDefinition] = {}
        self._handlers: dict[types.CodeType, tuple[Codec[tuple[Any, ...]], Codec[Any]]] = {}
        self._anything = values.codec(object, place="value")

    # --- defining

    def define(self, definitions: Iterable[object]) -> None:
        """Take definitions: entities, orchestrators, activities, and modules that hold them.

        Raises:
          DefinitionError: something else, an unusable definition, or two of one kind and name.
        """
        if not isinstance(definitions, Iterable):  # pyright: ignore[reportUnnecessaryIsInstance] - callers are not always checked
            raise TypeError(f"definitions are a list of classes, functions and modules, not {definitions!r} alone")
        for definition in definitions:
            if isinstance(definition, types.ModuleType):
                self._define_module(definition)
            else:
                self._define_one(definition)

    def provide(self, name: str, make: Callable[[], Activity[Any, *tuple[Any, ...]]]) -> None:
        """Have an activity of the hub's own, which is made when it is first needed; the name is taken at once."""
        self._provided[name] = make

    def _define_module(self, module: types.ModuleType) -> None:
        found: list[object] = [
            member
            for member in vars(module).values()
            if isinstance(member, FunctionEntity | Orchestrator | Activity) or _is_entity_class_of(module, member)
        ]
        if not found:
            raise DefinitionError(f"module {module.__name__!r} holds no entity, orchestrator or activity")
        for member in found:
            self._define_one(member)

    def _define_one(self, definition: object) -> None:
        if inspect.isclass(definition) and issubclass(definition, Entity) and definition is not Entity:
            entity = define_class(definition, self.values)
            self._enter(self.entities, entity.name, entity, "entities")
        elif isinstance(definition, FunctionEntity):
            entity = define_function(definition, self.values)
            self._enter(self.entities, entity.name, entity, "entities")
        elif isinstance(definition, Orchestrator):
            worked_out = self._orchestrator(cast("Orchestrator[Any, *tuple[Any, ...]]", definition))
            if (worked_out.name, worked_out.version) in self.orchestrators:
                raise DefinitionError(
                    f"two orchestrators are named {worked_out.name!r} with version {worked_out.version!r}; give one of them "
                    "another name= or version= in its decorator"
                )
            self.orchestrators[worked_out.name, worked_out.version] = worked_out
        elif isinstance(definition, Activity):
            active = self._activity(cast("Activity[Any, *tuple[Any, ...]]", definition))
            if active.activity.name in self._provided:
                raise DefinitionError(f"activity {active.activity.name!r} is one of the hub's own; give yours another name=")
            self._enter(self.activities, active.activity.name, active, "activities")
        else:
            raise DefinitionError(
                f"{definition!r} is no definition: a hub takes classes that derive from Entity, functions decorated with "
                "@entity, @orchestrator or @activity, and modules that hold them"
            )

    @staticmethod
    def _enter(table: dict[str, Any], name: str, definition: Any, kind: str) -> None:
        if name in table:
            raise DefinitionError(f"two {kind} are named {name!r}; give one of them another name= in its decorator")
        table[name] = definition

    def _orchestrator(self, orchestrator: Orchestrator[Any, *tuple[Any, ...]]) -> OrchestratorDefinition:
        parameters = list(inspect.signature(orchestrator.function).parameters.values())[1:]
        arguments, result = signature_codecs(
            orchestrator.function, parameters, self.values, f"orchestrator {orchestrator.name!r}"
        )
        return OrchestratorDefinition(orchestrator.name, orchestrator.version, orchestrator.function, arguments, result)

    def _activity(self, activity: Activity[Any, *tuple[Any, ...]]) -> ActivityDefinition:
        parameters = list(inspect.signature(activity.function).parameters.values())
        arguments, result = signature_codecs(activity.function, parameters, self.values, f"activity {activity.name!r}")
        return ActivityDefinition(activity, arguments, result, partial(ActivityFailed, activity.name))

    def handler_codecs(self, function: object, where: str, *, may_wait: bool) -> tuple[Codec[tuple[Any, ...]], Codec[Any]]:
        """The codecs of the arguments and the result of a handler; worked out once for each piece of code.

        Args:
          function: the handler.
          where: how error messages name it.
          may_wait: it may be ``async``.

        Raises:
          TypeError: it is no function, or ``async`` where it may not be.
          DefinitionError: its types cannot be used.
        """
        if not (inspect.isfunction(function) or inspect.ismethod(function)):
            raise TypeError(f"{where} is a function or method, not {function!r}")
        if not may_wait and inspect.iscoroutinefunction(function):
            raise TypeError(f"{where} is a plain function: it may not wait, and {function.__name__!r} is 'async def'")
        found = self._handlers.get(function.__code__)
        if found is None:
            parameters = list(inspect.signature(function).parameters.values())
            found = self._handlers[function.__code__] = signature_codecs(function, parameters, self.values, where)
        return found

    # --- looking up

    def entity(self, name: str) -> EntityDefinition:
        """The entity of that (folded) name.

        Raises:
          UnknownEntity: none is defined.
        """
        found = self.entities.get(name)
        if found is None:
            raise UnknownEntity(f"no entity named {name!r} is defined to this hub; defined are: {_names(self.entities)}")
        return found

    def operation_definition(self, target: EntityId, operation: object) -> OperationDefinition:
        """An operation, given as the method or by name.

        Raises:
          UnknownEntity, UnknownOperation: there is none (E7).
          TypeError: it is neither a method nor a name.
        """
        try:
            return self._operations[target.name, operation]
        except (KeyError, TypeError):  # not met yet, or not hashable
            pass
        entity = self.entity(target.name)
        found = entity.operation(operation if isinstance(operation, str) else entity.name_of(operation))
        if entity.operations:  # those of an entity function are any number
            self._operations[target.name, operation] = found
        return found

    def orchestrator(self, orchestrator: object) -> OrchestratorDefinition:
        """An orchestrator, given as the decorated function or by name.

        Raises:
          UnknownOrchestrator: none is defined.
          ValueError: the name alone is not enough: there are several versions.
          TypeError: it is neither.
        """
        if isinstance(orchestrator, Orchestrator):
            return self.orchestrator_version(orchestrator.name, orchestrator.version)
        if not isinstance(orchestrator, str):
            raise TypeError(f"an orchestrator is a function decorated with @orchestrator, or its name, not {orchestrator!r}")
        versions = [version for name, version in self.orchestrators if name == orchestrator]
        if len(versions) > 1:
            raise ValueError(f"orchestrator {orchestrator!r} has the versions {versions}; name the decorated function instead")
        return self.orchestrator_version(orchestrator, versions[0] if versions else None)

    def orchestrator_version(self, name: str, version: str | None) -> OrchestratorDefinition:
        """The orchestrator of that name and version.

        Raises:
          UnknownOrchestrator: it is not defined.
        """
        found = self.orchestrators.get((name, version))
        if found is None:
            known = sorted(f"{name!r}" + (f" (version {version!r})" if version else "") for name, version in self.orchestrators)
            raise UnknownOrchestrator(
                f"no orchestrator {name!r}"
                + (f" of version {version!r}" if version else "")
                + f" is defined to this hub; defined are: {', '.join(known) or 'none'}"
            )
        return found

    def activity(self, activity: object) -> ActivityDefinition:
        """An activity, given as the decorated function or by name.

        Raises:
          UnknownActivity: none is defined.
          TypeError: it is neither.
        """
        name = activity.name if isinstance(activity, Activity) else activity
        if not isinstance(name, str):
            raise TypeError(f"an activity is a function decorated with @activity, or its name, not {activity!r}")
        found = self.find_activity(name)
        if found is None:
            raise UnknownActivity(f"no activity named {name!r} is defined to this hub; defined are: {_names(self.activities)}")
        return found

    def find_activity(self, name: str) -> ActivityDefinition | None:
        """The activity of that name, if this hub has one."""
        found = self.activities.get(name)
        if found is None and name in self._provided:
            found = self.activities[name] = self._activity(self._provided[name]())
        return found

    def callable_activity(self, activity: object) -> ActivityDefinition:
        """An activity that an orchestrator calls: if this hub does not define it, the call waits until one does (O18).

        Raises:
          UnknownActivity: it is given by name, and not defined.
          DefinitionError: its types cannot be used.
          TypeError: it is neither an activity nor a name.
        """
        strange: Any = activity
        if not isinstance(activity, Activity) or strange.name in self.activities:
            return self.activity(strange)
        found = self._strangers.get(strange.function)
        if found is None:
            found = self._strangers[strange.function] = self._activity(strange)
        return found

    # --- the host of entity contexts

    def operation(self, target: EntityId, operation: object, arguments: tuple[object, ...]) -> tuple[str, bytes]:
        """An operation's name and its encoded arguments."""
        try:
            definition = self._operations[target.name, operation]
        except (KeyError, TypeError):
            definition = self.operation_definition(target, operation)
        return definition.name, definition.arguments.encode(arguments)

    def orchestration(self, orchestrator: object, arguments: tuple[object, ...]) -> tuple[str, str | None, bytes]:
        """Name, version and encoded arguments of an orchestration to start."""
        definition = self.orchestrator(orchestrator)
        return definition.name, definition.version, definition.arguments.encode(arguments)

    def event_value(self, name: str, value: object) -> bytes:
        """An event's value in its self-describing form.

        Raises:
          TypeError, ValueError: the event's name is no text, or empty.
          NotStorable: the value cannot be kept exactly.
        """
        check_event_name(name)
        return self._anything.encode(value)

    def handler_arguments(self, arguments: tuple[object, ...]) -> bytes:
        """The arguments of a query or an update in their self-describing form.

        Raises:
          NotStorable: one cannot be kept exactly.
        """
        return self._anything.encode(list(arguments))


def _is_entity_class_of(module: types.ModuleType, member: object) -> bool:
    """Whether a member is an entity class that the module itself defines, not one that it merely imports."""
    return (
        inspect.isclass(member) and issubclass(member, Entity) and member is not Entity and member.__module__ == module.__name__
    )


def check_event_name(name: object) -> str:
    """Return an event's name folded (O9).

    Raises:
      TypeError: it is no text.
      ValueError: it is empty or very long.
    """
    if not isinstance(name, str):
        raise TypeError(f"an event's name is a str, not {type(name).__name__}: {name!r}")
    if not 0 < len(name) <= 200:
        raise ValueError(f"an event's name has 1 to 200 characters, not {len(name)}")
    check_no_surrogates(name, "event's name")
    return name.casefold()


def _names(table: dict[str, Any]) -> str:
    return ", ".join(sorted(table)) or "none"
