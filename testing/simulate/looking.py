"""Random clients that look: whatever they are shown is what is durable at that moment (E9)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from attrs import asdict, define

from ...hub import DeadLetter, Page
from ...hub.delayed import signal_id_of_key
from ...orchestration import RuntimeStatus
from ...orchestration.status import OrchestrationRecord
from .asking import Asking
from .known import Fault
from .ledgers import Ledger
from .ops import LEDGER, decode
from .programs import KEYS
from .requests import Request

MANY: Final = 60
"""A query of so many takes several looks, and what it shows need not have been there at one moment."""


@define(eq=False)
class Looking(Asking):
    """Makes requests that read."""

    def read(self) -> Request:
        """``read_entity``."""
        key = self.chance.choice(KEYS)

        def check(_: Request, shown: Ledger | None) -> Iterator[Fault]:
            entity = self.known.stored.entity(LEDGER, key)
            state = None if entity is None else entity.state
            read = None if shown is None else asdict(shown)
            if read != state:
                yield 4, f"{key!r} was shown as {read}, and is {state}"

        return Request(f"read {key!r}", lambda hub: hub.read_entity(Ledger.at(key)), check=check)

    def status(self) -> Request:
        """``get_status``."""
        instance_id = self._instance()

        def check(_: Request, shown: Any) -> Iterator[Fault]:
            record = self._record(instance_id)
            if record is None or (record.status, record.execution) != (shown.runtime_status, shown.execution):
                yield 4, f"{instance_id} was shown as {shown}, and is {record}"

        return Request(f"status of {instance_id}", lambda hub: hub.get_status(instance_id), check=check)

    def _record(self, instance_id: str) -> OrchestrationRecord | None:
        found = self.known.stored.orchestration(instance_id)
        return None if found is None else found.record

    def query(self) -> Request:
        """``query_instances``."""
        status = self.chance.choice((RuntimeStatus.RUNNING, RuntimeStatus.SUSPENDED, RuntimeStatus.COMPLETED))

        def check(_: Request, page: Any) -> Iterator[Fault]:
            records = [found.record for found in self.known.stored.orchestrations if found.record is not None]
            there = sorted(record.instance_id for record in records if record.status is status)
            shown = sorted(item.instance_id for item in page.items)
            if shown != there and len(records) < MANY:
                yield 21, f"{shown} were shown as {status}, and {there} are"

        return Request(f"query {status}", lambda hub: hub.query_instances(status=status, limit=1000), check=check)

    def letters(self) -> Request:
        """``dead_letters``."""
        key = self.chance.choice(KEYS)

        def check(_: Request, page: Page[DeadLetter]) -> Iterator[Fault]:
            entity = self.known.stored.entity(LEDGER, key)
            there = [] if entity is None else [(each.message.name, each.failure) for each in entity.letters.values()]
            shown = [(each.operation, each.failure) for each in page.items]
            if shown != there:
                yield 21, f"the letters of {key!r} were shown as {shown}, and are {there}"

        return Request(f"letters of {key!r}", lambda hub: hub.dead_letters(Ledger.at(key)), check=check)

    def delayed(self) -> Request:
        """``delayed_signals``, by entity or all."""
        key = self.chance.choice((None, *KEYS))
        is_new = key is not None and self.known.stored.entity(LEDGER, key) is None

        def check(_: Request, page: Page[Any]) -> Iterator[Fault]:
            entity = None if key is None else self.known.stored.entity(LEDGER, key)
            of_one = set[bytes]() if entity is None else entity.delayed
            there = sorted(signal_id_of_key(each) for each in (self.known.ops.later if key is None else of_one))
            shown = [each.signal_id for each in page.items if each.entity_id.name == LEDGER]
            if shown != there and len(self.known.stored.timers) < MANY and not is_new:
                yield 21, f"{shown} were shown as delayed signals for {key!r}, and {there} are"

        ref = None if key is None else Ledger.at(key)
        return Request(f"delayed signals of {key!r}", lambda hub: hub.delayed_signals(ref, limit=1000), check=check)

    def result(self) -> Request:
        """``wait_for_result``."""
        instance_id, seconds = self._instance(), self.chance.choice((0.0, 5.0, 1000.0))

        def check(request: Request, shown: list[str]) -> Iterator[Fault]:
            record = self._record(instance_id)
            if (record is None or record.output is None or decode(record.output) != shown) and not self._touched(request):
                yield 4, f"the result of {instance_id} was shown as {shown}, and is {record and record.output}"

        return Request(
            f"result of {instance_id}", lambda hub: hub.wait_for_result(instance_id, seconds), [], instance_id, check=check
        )
