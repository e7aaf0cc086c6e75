"""The context's verbs that offer something to the outside (O21)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .context_base import ContextBase
from .handlers import Handler
from .registry import check_event_name


class HandlerVerbs(ContextBase):
    """Queries and updates."""

    __slots__ = ()

    def on_query(self, name: str, handler: Callable[..., Any]) -> None:
        """Offer a query (O21): ``await instance.query(name, ...)`` calls the handler while this execution runs.

        It answers from what the code has in memory, at any time between two turns, and may use nothing of the context. Offering
        a name again replaces the handler. Offer it before the first await, so that it is there from the beginning.

        Args:
          name: compared without regard to case.
          handler: a plain function or method; its annotations give the types of its arguments and result.

        Raises:
          ValueError: the name is empty or too long.
          TypeError: the handler is no plain function.
          DefinitionError: its types cannot be used.
        """
        self._kernel.check_running("a query is offered")
        self._kernel.handlers.queries[check_event_name(name)] = self._handler(name, handler, "query", may_wait=False)

    def on_update(self, name: str, handler: Callable[..., Any], *, validate: Callable[..., object] | None = None) -> None:
        """Offer an update (O21): ``await instance.update(name, ...)`` runs the handler as a task of this execution.

        Its answer is what the handler returns or raises; a failure of it is the caller's, and does not fail the orchestration. An
        update that still runs when the execution ends is answered with a failure.

        Args:
          name: compared without regard to case.
          handler: a plain or ``async`` function or method; its annotations give the types of its arguments and result.
          validate: called with the same arguments before the update is accepted; it refuses by raising, and may change nothing.

        Raises:
          ValueError, TypeError, DefinitionError: as for :meth:`on_query`.
        """
        self._kernel.check_running("an update is offered")
        self._kernel.handlers.updates[check_event_name(name)] = self._handler(name, handler, "update", validate)

    def _handler(
        self,
        name: str,
        function: Callable[..., Any],
        kind: str,
        validate: Callable[..., object] | None = None,
        *,
        may_wait: bool = True,
    ) -> Handler:
        arguments, result = self._registry.handler_codecs(function, f"the handler of {kind} {name!r}", may_wait=may_wait)
        if validate is not None:
            self._registry.handler_codecs(validate, f"the validator of {kind} {name!r}", may_wait=False)
        return Handler(function, arguments, result, validate)
