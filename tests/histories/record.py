"""``python -m tests.histories.record``: add the histories of shapes that have none of this version. Files that exist stay as they are."""

from __future__ import annotations

import importlib.metadata
import sys

from perdure.hub.records import decode_history, decode_instance
from perdure.orchestration.status import OrchestrationRecord
from perdure.storage import tables
from perdure.storage.memory_store import MemoryStore

from ..hub.harness import SCENARIOS, whole_run
from ..hub.scenarios import Scenario
from .golden import FOLDER, Golden, Recorded, text_of

SIZE_MAX = 64 << 10
"""Characters; what is longer shows nothing that a shorter one does not."""

_PLACES = (f"{FOLDER.parents[1]}/", f"{sys.prefix}/", f"{sys.base_prefix}/")
"""Where this machine keeps what tracebacks name."""


def recorded(scenario: Scenario, version: str) -> Golden:
    """Run it, and take the journals from the store."""
    store = MemoryStore()
    whole_run(store, scenario)
    disk = store.snapshot()
    instances: list[Recorded] = []
    for number, data in disk[tables.INSTANCES].items():
        record = decode_instance(data)
        if isinstance(record, OrchestrationRecord):
            chunks = sorted((key, chunk) for key, chunk in disk[tables.HISTORY].items() if key[:8] == number)
            instances.append(Recorded(record.instance_id, [entry for _, chunk in chunks for entry in decode_history(chunk)]))
    return Golden(str(scenario), version, instances)


def main() -> None:
    """Record what is missing, and say what was added."""
    version = importlib.metadata.version("perdure")
    folder = FOLDER / version
    folder.mkdir(exist_ok=True)
    for scenario in SCENARIOS:
        path = folder / f"{scenario}.json"
        if path.exists():
            continue
        text = text_of(recorded(scenario, version))
        for place in _PLACES:
            text = text.replace(place, "")
        if len(text) > SIZE_MAX:
            sys.stderr.write(f"{scenario}: {len(text)} characters are too many\n")
            continue
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
        sys.stderr.write(f"{path.relative_to(FOLDER)}: added\n")


if __name__ == "__main__":
    main()
