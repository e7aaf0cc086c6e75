"""Generated ids are random UUIDs, one for each who asks, whatever the process (I3)."""

from __future__ import annotations

import os
import uuid

import pytest
from perdure.hub import random_ids
from perdure.hub.random_ids import AT_ONCE, new_instance_id


def test_I3_generated_ids_are_uuids_of_version_4_and_all_different() -> None:
    """Also beyond those that are made at a time."""
    ids = [new_instance_id() for _ in range(3 * AT_ONCE)]
    assert len(set(ids)) == len(ids)
    for each in ids:
        assert len(each) == 32
        parsed = uuid.UUID(hex=each)
        assert (parsed.hex, parsed.version, parsed.variant) == (each, 4, uuid.RFC_4122)


def test_I3_every_random_bit_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """122 bits of each id are those of its own 16 random bytes, in order."""
    source = bytes(range(1, 1 + 16 * 4))
    monkeypatch.setattr(random_ids, "AT_ONCE", 4)
    monkeypatch.setattr(random_ids, "_ready", [])
    monkeypatch.setattr(random_ids, "urandom", lambda size: source[:size])
    expected = {uuid.UUID(bytes=source[start : start + 16], version=4).hex for start in range(0, len(source), 16)}
    assert {new_instance_id() for _ in range(4)} == expected


def test_I3_a_forked_child_has_ids_of_its_own() -> None:
    """A child does not give out the ids that its parent has ready."""
    new_instance_id()
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        try:
            os.write(writing, "".join(new_instance_id() for _ in range(10)).encode())
        finally:
            os._exit(0)
    os.close(writing)
    os.waitpid(child, 0)
    theirs = os.read(reading, 1000).decode()
    os.close(reading)
    assert len(theirs) == 320
    ours = {new_instance_id() for _ in range(2 * AT_ONCE)}
    assert not ours & {theirs[start : start + 32] for start in range(0, 320, 32)}
