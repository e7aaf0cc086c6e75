"""One entity as a state machine: messages in, effects out (E1 to E8, E13, L1 to L6).

The machine owns an entity's state, its lock and its mailbox. The hub gives it messages with :meth:`accept` and lets
it run with :meth:`advance`; what it decided is in ``effects``. It does no I/O, so every rule can be tested by calling
functions.

How an operation runs
  The state exists twice: encoded, which is the truth, and as a live object, which is a cache. A plain operation runs
  on the live object; when it ends well the object is encoded and becomes the truth, when it fails the live object is
  thrown away, and the next operation decodes the old bytes (E4). One encode an operation is much cheaper than a deep
  copy, and finds a state that cannot be kept at the operation that made it so.

  An ``async`` operation may do I/O, so it may begin only when its message is durable (D2). The machine stops in front
  of it (``waiting_operation``), the hub calls :meth:`begin` after the commit, drives the coroutine, and reports with
  :meth:`finish`. Its message stays in the mailbox until then: if the process dies, it runs again (E5).
"""

from __future__ import annotations

from collections.abc import Coroutine
from datetime import datetime
from typing import Any, cast

from attrs import define, field, frozen

from .context import EntityContext, Host
from .definition import EntityDefinition, Live, OperationDefinition
from .entity_mailbox import EntityMailbox
from .failures import FailureDetails
from .ids import EntityId
from .lock import Lock
from .mailbox import Lane
from .messages import Answer, EntityEffect, EntityMessage, Failure, Letter, LockRelease, LockRequest, Operation, Success
from .read_only import ReadOnlyContext


@frozen
class RunningOperation:
    """An async operation under way.

    Attributes:
      number: the mailbox number of its message.
      message: its message.
      definition: the operation.
      context: its context.
      coroutine: to be driven by the hub.
    """

    number: int
    message: Operation
    definition: OperationDefinition
    context: EntityContext
    coroutine: Coroutine[Any, Any, Any]


@define(eq=False)
class EntityMachine:
    """The machine of one entity.

    Attributes:
      entity_id: which one.
      definition: its class, worked out; ``None`` while no such class is defined: then its messages wait (O18).
      host: what contexts need from the hub.
      state: the encoded state, ``None`` if the entity does not exist.
      version: the class version that the state was saved with.
      lock: the lock, ``None`` while free.
      effects: what the turns since the hub last looked have decided, in order.
      running: the async operation under way, if any.
      operations_run: operations that ended, well or not, since the machine was made.
      succeeded: one has ended well since the hub last looked.
      mailbox: the messages that wait.
    """

    entity_id: EntityId
    definition: EntityDefinition | None
    host: Host
    state: bytes | None = None
    version: int = 0
    lock: Lock | None = None
    effects: list[EntityEffect] = field(factory=list, init=False)
    running: RunningOperation | None = field(default=None, init=False)
    operations_run: int = field(default=0, init=False)
    succeeded: bool = field(default=False, init=False)
    mailbox: EntityMailbox = field(factory=EntityMailbox, init=False)
    _live: Live | None = field(default=None, init=False)

    # --- messages

    def accept(self, message: EntityMessage, number: int | None = None) -> None:
        """Put a message in its lane.

        Args:
          message: the message.
          number: its number if it was read back from storage; such messages come first, in the order of numbers.
        """
        self.mailbox.put(message, number, self.lock)

    @property
    def ready(self) -> bool:
        """Whether :meth:`advance` would do something."""
        definition, mailbox = self.definition, self.mailbox
        if definition is None:
            return False
        if mailbox.control:
            return True
        if self.running is not None:
            return False
        lane = mailbox.queue if self.lock is None else mailbox.held
        return bool(lane) and not (definition.has_async and self._is_async(lane[0][1]))

    @property
    def waiting_operation(self) -> int | None:
        """The number of the async operation that is the next thing to do; it begins when its message is durable (D2)."""
        definition = self.definition
        if definition is None or not definition.has_async or self.running is not None or self.mailbox.control:
            return None
        lane = self._lane
        return lane[0][0] if lane and self._is_async(lane[0][1]) else None

    @property
    def empty(self) -> bool:
        """Whether nothing of this entity has to be kept (E11)."""
        return self.state is None and self.lock is None and not self.mailbox.waiting

    @property
    def _lane(self) -> Lane[EntityMessage]:
        """What is worked off at present."""
        return self.mailbox.queue if self.lock is None else self.mailbox.held

    def _is_async(self, message: EntityMessage) -> bool:
        if type(message) is not Operation:
            return False
        operation = self._known.find(message.name)
        return operation is not None and operation.is_async

    @property
    def _known(self) -> EntityDefinition:
        definition = self.definition
        assert definition is not None
        return definition

    # --- turns

    def advance(self, now: datetime, budget: int) -> int:
        """Work off at most ``budget`` messages; return how many were.

        Stops early when there is nothing to do, or in front of an async operation.
        """
        left = budget
        mailbox, find = self.mailbox, self._known.find
        while left:
            if mailbox.control:
                number, release = mailbox.control.popleft()
                mailbox.took(number)
                self._release(cast("LockRelease", release))
                left -= 1
                continue
            if self.running is not None:
                break
            lane = mailbox.queue if self.lock is None else mailbox.held
            if not lane:
                break
            number, message = lane[0]
            if type(message) is Operation:
                operation = find(message.name)
                if operation is not None and operation.is_async:
                    break
                lane.popleft()
                mailbox.took(number)
                self._perform(operation, message, now)
                if self.lock is not None:
                    self._unlock_if_left()
            else:
                lane.popleft()
                mailbox.took(number)
                lock = self.lock = Lock.granted(cast("LockRequest", message))
                self.effects.append(lock.after_grant())
            left -= 1
        return budget - left

    def _release(self, release: LockRelease) -> None:
        lock = self.lock
        if lock is not None and lock.section == release.section:
            if not lock.releasing:
                passed_on = lock.after_release()
                if passed_on is not None:
                    self.effects.append(passed_on)
                lock.releasing = True
            self._unlock_if_left()
            return
        for place, (number, message) in enumerate(self.mailbox.queue):
            if type(message) is LockRequest and message.section == release.section:
                del self.mailbox.queue[place]
                self.mailbox.took(number)
                return

    def _unlock_if_left(self) -> None:
        if self.lock is not None and self.lock.releasing and not self.mailbox.held and self.running is None:
            self.lock = None

    # --- operations

    def _perform(self, operation: OperationDefinition | None, message: Operation, now: datetime) -> None:
        context = _context_of(operation)(self.entity_id, message.name, now, self.host)
        live: Live | None = None
        result: object = None
        try:
            if operation is None:
                operation = self._known.operation(message.name)
            arguments = operation.arguments.decode(message.arguments)
            if operation.function is None:
                context.delete()
            else:
                live = self._live
                if live is None:
                    live = self._materialize()
                if operation.read_only:
                    cast("ReadOnlyContext", context).begins_with(self._known.save(live))
                live._perdure_context = context  # pyright: ignore[reportPrivateUsage]
                result = operation.function(live, *arguments)
            self._succeed(operation, message, context, live, result)
        except BaseException as error:  # noqa: BLE001 - whatever an operation raises is its failure (E4)
            self._fail(message, error, context)
        finally:
            if live is not None:
                live._perdure_context = None  # pyright: ignore[reportPrivateUsage]
        self.operations_run += 1

    def _succeed(
        self, operation: OperationDefinition, message: Operation, context: EntityContext, live: Live | None, result: object
    ) -> None:
        """Take over what an operation did; raises, without a trace, if its result or state cannot be kept."""
        value = operation.result.encode(result)
        effects, deleted = context.close()
        if operation.read_only:
            cast("ReadOnlyContext", context).check(self._known.save(live), self._known.plain)
            if self.state is not None:
                self._live = live
        elif deleted:
            self.state = self._live = None
        elif live is not None:
            self.state = self._known.save(live)
            self.version = self._known.version
            self._live = live
        self.succeeded = True
        if effects:
            self.effects.extend(effects)
        if message.reply_to is not None:
            self.effects.append(Answer(message.reply_to, Success(value)))

    def set_aside(self, error: Exception) -> None:
        """Do not run the operation that is next: it fails with an error (O20)."""
        lane = self._lane
        if not lane or type(lane[0][1]) is not Operation:
            return
        number, message = lane.popleft()
        self.mailbox.took(number)
        self._failed(cast("Operation", message), error)
        if self.lock is not None:
            self._unlock_if_left()

    def _fail(self, message: Operation, error: BaseException, context: EntityContext) -> None:
        context.close()
        self._live = None
        self._failed(message, error)

    def _failed(self, message: Operation, error: BaseException) -> None:
        failure = FailureDetails.from_exception(error)
        if message.reply_to is None:
            self.effects.append(Letter(message, failure))
        else:
            self.effects.append(Answer(message.reply_to, Failure(failure)))

    def expire(self) -> None:
        """Delete the state of an entity that has been idle for so long; no code of the class runs."""
        self.state = self._live = None

    def _materialize(self) -> Live:
        """A live object of the encoded state, or of the class's defaults."""
        if self.state is None:
            return self._known.fresh()
        return self._known.load(self.entity_id, self.state, self.version)

    # --- async operations

    def begin(self, now: datetime) -> RunningOperation:
        """Begin the async operation in front of which the machine stopped; its message must be durable (D2)."""
        number, waiting = self._lane[0]
        message = cast("Operation", waiting)
        operation = self._known.operation(message.name)
        context = _context_of(operation)(self.entity_id, message.name, now, self.host)
        coroutine = self._operate(operation, message, context)
        self.running = RunningOperation(number, message, operation, context, coroutine)
        return self.running

    async def _operate(self, operation: OperationDefinition, message: Operation, context: EntityContext) -> tuple[Live, Any]:
        """The coroutine of an async operation: it runs on an object of its own, and returns it with the result."""
        arguments = operation.arguments.decode(message.arguments)
        live = self._materialize()
        if operation.read_only:
            cast("ReadOnlyContext", context).begins_with(self._known.save(live))
        live._perdure_context = context  # pyright: ignore[reportPrivateUsage]
        assert operation.function is not None
        try:
            return live, await operation.function(live, *arguments)
        finally:
            live._perdure_context = None  # pyright: ignore[reportPrivateUsage]

    def finish(self, run: RunningOperation, ended: tuple[Live, Any] | BaseException) -> None:
        """Take over how an async operation ended: (live object, result), or what it raised."""
        lane = self._lane
        assert self.running is run
        assert lane[0][0] == run.number
        lane.popleft()
        self.mailbox.took(run.number)
        self.running = None
        self.operations_run += 1
        if isinstance(ended, BaseException):
            self._fail(run.message, ended, run.context)
        else:
            try:
                self._succeed(run.definition, run.message, run.context, *ended)
            except Exception as error:  # noqa: BLE001 - a result or state that cannot be kept is a failure (E4)
                self._fail(run.message, error, run.context)
        self._unlock_if_left()


def _context_of(operation: OperationDefinition | None) -> type[EntityContext]:
    return EntityContext if operation is None or not operation.read_only else ReadOnlyContext
