"""What is due is taken once, whatever is set and dropped meanwhile, and however little is taken at a time."""

from __future__ import annotations

from attrs import define, field
from hypothesis import example, given
from hypothesis import strategies as st
from perdure.hub.batch import OpenBatch
from perdure.hub.records import TimerRecord
from perdure.hub.timers import Timers
from perdure.storage import keys
from perdure.storage.memory_store import MemoryStore
from perdure.storage.store import Batch


@define(slots=False)
class Table:
    """The rows of one hub, a batch that is open and perhaps one under way; and what should be in them.

    Attributes:
      durable: keys that are stored, and neither taken nor dropped.
      fresh: keys that were set in a batch that is not durable; they cannot be taken yet.
    """

    store: MemoryStore = field(factory=MemoryStore)
    epoch: int = 0
    open: OpenBatch = field(factory=lambda: OpenBatch(1))
    under_way: OpenBatch | None = None
    durable: set[bytes] = field(factory=set[bytes])
    fresh: set[bytes] = field(factory=set[bytes])

    def __attrs_post_init__(self) -> None:
        self.epoch = self.store.open()
        self.timers = Timers(self.store)

    def set(self, time: int, number: int) -> None:
        """Set a row, or set it again."""
        key = keys.u64(time) + keys.u64(number)
        self.timers.set(self.open, key, TimerRecord("i", "00", str(number)))
        self.durable.discard(key)
        self.fresh.add(key)

    def drop(self, time: int, number: int) -> None:
        """Drop a row, if there is one."""
        key = keys.u64(time) + keys.u64(number)
        self.timers.drop(self.open, key)
        self.durable.discard(key)
        self.fresh.discard(key)

    def seal(self) -> None:
        """Have the open batch under way, and begin the next one."""
        if self.under_way is None:
            self.under_way, self.open = self.open, OpenBatch(self.open.number + 1)

    def commit(self) -> None:
        """Have the batch under way durable."""
        batch, self.under_way = self.under_way, None
        if batch is not None:
            self.store.submit(Batch(0, self.epoch, batch.number, batch.writes)).result()
            self.timers.committed(batch)
            rows = {key for key, value in batch.writes["timers"].items() if value is not None}
            rewritten = set(self.open.writes["timers"])
            self.durable |= (rows & self.fresh) - rewritten
            self.fresh -= rows - rewritten

    def settle(self) -> None:
        """Have everything durable."""
        self.commit()
        self.seal()
        self.commit()

    def take(self, now: int, at_most: int) -> None:
        """Take what is due."""
        due = [key for key, _ in self.timers.take_due(now, self.open, self.under_way, at_most)]
        expected = sorted(key for key in self.durable if keys.read_u64(key) <= now)
        assert due == expected[:at_most]
        self.durable -= set(due)


_ROWS = (st.integers(1, 6), st.integers(0, 2))
_STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("set"), *_ROWS),
        st.tuples(st.just("drop"), *_ROWS),
        st.tuples(st.just("take"), st.integers(0, 7), st.integers(1, 4)),
        st.tuples(st.sampled_from(["seal", "commit", "settle"])),
    ),
    max_size=40,
)


@example([("set", 3, 0), ("settle",), ("take", 5, 4), ("set", 2, 0), ("settle",), ("take", 5, 4)])
@given(_STEPS)
def test_O8_what_is_due_is_taken_once_and_in_order(steps: list[tuple[str, *tuple[int, ...]]]) -> None:
    """Each time just the earliest rows are taken that are durable, due, and neither dropped nor taken; also when the clock goes back."""
    table = Table()
    for verb, *numbers in steps:
        getattr(table, verb)(*numbers)
