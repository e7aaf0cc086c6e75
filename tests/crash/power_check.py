"""Opens what power cuts leave, and says what is wrong with it. A process of its own: a state may kill whoever reads it.

    python -m tests.crash.power_check <task>

The task is a MessagePack file of a :class:`Task`; the answer is written beside it as an :class:`Answer`. The cut that is being
looked at is written down before, so that whoever started the process can tell of which state it died.

Of each state it is demanded that the store opens, that it then holds exactly what the batches up to some number make,
that this number is neither below what was said to be durable nor above what was ever submitted, that the owner epoch goes up,
and that LMDB's own verifier finds the pages sound, before and after. For each commit that was found, the hub itself is
opened on a state with the most promises: nothing that a client was told may be missing, and from there on the workload must
come to its end as if nothing had happened.
"""

from __future__ import annotations

import logging
import random
import shutil
import sys
import time
from collections import Counter
from collections.abc import Iterator
from hashlib import blake2b
from pathlib import Path
from typing import Any, Final, cast

import lmdb
import lmdb.verify
import msgspec
from attrs import define, field
from perdure.storage import tables
from perdure.storage.batch_rules import STORE_KEYS
from perdure.storage.errors import PerdureError
from perdure.storage.lmdb_store import LmdbStore
from perdure.storage.store import Batch

from ..hub import disk, workload
from .disk_shim import quick_folder, read_notes
from .power_model import Moment, Promises, Recording, understand
from .power_states import Cut, cuts

HUB: Final = "data/bank"
"""Where the hub is, below the folder that was watched."""


class Task(msgspec.Struct):
    """What to look at.

    Attributes:
      notes, root: the recording and the folder that was watched.
      manner: how the workload was run.
      seed: which cuts.
      share, shares: every so many-th pair of moments, from which one on.
      states: stop after so many distinct states.
      seconds: stop after that time.
      findings: stop after so many findings.
    """

    notes: str
    root: str
    manner: str
    seed: int
    share: int
    shares: int
    states: int
    seconds: float
    findings: int


class Answer(msgspec.Struct):
    """What was found.

    Attributes:
      digests: of the distinct states.
      outcomes: how often what was there.
      hubs: how many hubs were opened.
      findings: what is wrong.
    """

    digests: list[bytes]
    outcomes: dict[str, int]
    hubs: int
    findings: list[str]


class Wrong(Exception):
    """A state that a power cut must not leave."""


@define
class Checker:
    """Looks at states of one recording."""

    recording: Recording
    place: Path
    expected: dict[int, disk.Rows]
    chance: random.Random
    outcomes: Counter[str] = field(factory=Counter[str])
    hardest: dict[int, tuple[Cut, int]] = field(factory=dict[int, tuple[Cut, int]])

    @classmethod
    def of(cls, recording: Recording, place: Path, seed: int) -> Checker:
        """A checker that works in a folder of its own."""
        batches = [Batch(0, 0, number, writes) for number, writes in sorted(recording.batches.items())]
        expected: dict[int, disk.Rows] = {0: {table: {} for table in tables.TABLES}}
        for batch, rows in zip(batches, disk.after_each(batches), strict=True):
            disk.check(rows)
            expected[batch.number] = {table: dict(found) for table, found in rows.items()}
        return cls(recording, place, expected, random.Random(seed))

    def lay_out(self, files: dict[str, bytes]) -> Path:
        """Put a state on the disk; LMDB's lock file, which a cut may leave in any state, is there or not."""
        shutil.rmtree(self.place, ignore_errors=True)
        self.place.mkdir(0o700)
        for path, content in files.items():
            target = self.place / path
            if path.endswith("/"):
                target.mkdir(0o700)
            else:
                target.write_bytes(content)
        hub = self.place / HUB
        if hub.exists() and (left := self.chance.choice((None, 0, 64, 8192))) is not None:
            (hub / "lock.mdb").write_bytes(self.chance.randbytes(left))
        return hub

    def check(self, cut: Cut, files: dict[str, bytes]) -> None:
        """Open the state as the store.

        Raises:
          Wrong: it is not what it must be.
        """
        moment = self.recording.moments[cut.moment]
        hub = self.lay_out(files)
        self._verify(hub, "as it was left")
        store = LmdbStore(hub)
        try:
            epoch = store.open()
        except PerdureError as error:
            raise Wrong(f"is refused: {error}") from error
        try:
            number = self._compare(store, epoch, moment.promises)
        except (PerdureError, lmdb.Error) as error:
            raise Wrong(f"cannot be read: {error}") from error
        finally:
            store.close()
        self._verify(hub, "after it was opened")
        told = len(moment.promises.told)
        if number not in self.hardest or self.hardest[number][1] <= told:
            self.hardest[number] = (cut, told)

    def _compare(self, store: LmdbStore, epoch: int, promises: Promises) -> int:
        """The number of the commit that is there."""
        number = store.commit_number
        if number < promises.settled:
            raise Wrong(f"has lost commit {promises.settled}, which was said to be durable: the last one is {number}")
        if number > promises.submitted:
            raise Wrong(f"has commit {number}, and {promises.submitted} was the last one submitted")
        if epoch <= promises.opened:
            raise Wrong(f"gives out owner epoch {epoch} again")
        for table, rows in self.expected[number].items():
            found = {
                key: value for key, value in store.scan(table, limit=sys.maxsize) if table != tables.META or key not in STORE_KEYS
            }
            if found != rows:
                raise Wrong(f"has a table {table!r} that is not that of commit {number}: a commit is there in parts")
        newer = number - promises.settled
        self.outcomes["a commit that nobody was told of" if newer else "what was acknowledged" if number else "a new hub"] += 1
        return number

    def _verify(self, hub: Path, when: str) -> None:
        data = hub / "data.mdb"
        if not data.exists():
            return
        try:
            # The verifier carries no types; what it finds is only printed.
            found = cast("list[object]", lmdb.verify.verify(str(data)))  # pyright: ignore[reportUnknownMemberType]
        except lmdb.verify.VerifyError as error:
            found = [error]
        if found:
            raise Wrong(f"does not pass LMDB's verifier, {when}: {found[0]}")

    def live_on(self, cut: Cut, manner: str) -> None:
        """Open the hub on a state and have the client go on.

        Raises:
          Wrong: something that the client was told has not happened, or the end is another one.
        """
        moment = self.recording.moments[cut.moment]
        store = LmdbStore(self.lay_out(cut.files(moment)))
        client = workload.Client(acknowledged=set(moment.promises.told))
        try:
            seen = workload.run_once(client, cast("Any", store), workload.MANNERS[manner])
        except BaseException as error:
            raise Wrong(f"is a hub that goes wrong: {error!r}") from error
        if seen != workload.EXPECTED:
            different = {key: (seen.get(key), value) for key, value in workload.EXPECTED.items() if seen.get(key) != value}
            raise Wrong(f"is a hub that ends otherwise (found, expected): {different}")


def examine(task: Task, place: Path, progress: Path) -> Answer:
    """Do a task."""
    recording = understand(read_notes(Path(task.notes)), Path(task.root))
    checker = Checker.of(recording, place, task.seed)
    answer = Answer([], {}, 0, [])
    seen: dict[bytes, Promises] = {}
    until = time.monotonic() + task.seconds
    with progress.open("wb", buffering=0) as written:
        for cut in cuts(recording.moments, task.seed):
            if len(seen) >= task.states or time.monotonic() > until or len(answer.findings) >= task.findings:
                break
            if cut.moment // 2 % task.shares != task.share:  # in pairs: one of data is followed by one of a meta page
                continue
            for files in _unless_seen(cut, recording.moments[cut.moment], seen):
                written.write(f"{cut}\n".encode())
                try:
                    checker.check(cut, files)
                except Wrong as error:
                    answer.findings.append(f"{cut} {error}")
    for cut, _ in checker.hardest.values():
        if len(answer.findings) >= task.findings:
            break
        answer.hubs += 1
        try:
            checker.live_on(cut, task.manner)
        except Wrong as error:
            answer.findings.append(f"{cut} {error}")
    answer.digests = list(seen)
    answer.outcomes = dict(checker.outcomes)
    return answer


def _unless_seen(cut: Cut, moment: Moment, seen: dict[bytes, Promises]) -> Iterator[dict[str, bytes]]:
    """The files that a cut leaves, unless the same were seen with the same promises already."""
    files = cut.files(moment)
    digest = blake2b(digest_size=16)
    for path, content in sorted(files.items()):
        digest.update(f"{path}\n{len(content)}\n".encode())
        digest.update(content)
    if seen.get(digest.digest()) != moment.promises:
        seen[digest.digest()] = moment.promises
        yield files


def main() -> None:
    """Do the task of the command line."""
    logging.disable()  # the workload has an operation that fails on purpose
    path = Path(sys.argv[1])
    task = msgspec.msgpack.decode(path.read_bytes(), type=Task)
    with quick_folder() as folder:
        answer = examine(task, folder / "state", path.with_suffix(".progress"))
    path.with_suffix(".answer").write_bytes(msgspec.msgpack.encode(answer))


if __name__ == "__main__":
    main()
