"""The page verifier: whether a data file is an LMDB file that the engine can work on safely.

LMDB trusts every page that it reads. ``lmdb.verify`` walks all of them with ordinary file reads, in pure Python, so that
nothing in the file can harm the process. It looks at structure, not at content: values prove themselves by their checksums
(:mod:`perdure.storage.records`). It reads some 80 to 140 MB a second.

When it runs (:func:`needs_verification`):

- The hub was left in order: not at all. Damage since then is met by checksums, and looked for by ``perdure check``.
- The machine was restarted, or nobody knows how the hub was left: before the first turn.
- Only the process died: the kernel kept every page that was written, so the file is as good as it was. A small file is
  verified at once all the same; a large one by a process of its own, beside the hub, so that opening does not wait for it
  and the hub's turns do not share an interpreter with it. What it finds stops the hub, and the next opening looks before
  the first turn.

Verifying a file that is being written: the other process holds a read transaction meanwhile, and LMDB never overwrites a
page that the oldest reader's commit, or a later one, can reach. So every page of the commit that the verifier picks stays
as it is. The file may grow by what is written meanwhile, once, and no reader is left behind.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from threading import Thread
from typing import Final, cast

import lmdb
import lmdb.verify

from .lmdb_witness import Left, WitnessRecord, this_boot

AT_ONCE_BYTES: Final = 8 << 20
"""A file of up to this size is verified at once also after a mere crash of the process: about 60 ms."""

_TRIES: Final = 3
_SCRIPT: Final = "import sys; from perdure.storage.lmdb_pages import print_findings; print_findings(sys.argv[1])"


def verify_pages(data_file: Path) -> list[str]:
    """What is wrong with the pages of a data file that nobody writes; nothing, if it is sound.

    Raises:
      OSError: it cannot be read.
    """
    try:
        # The verifier carries no types; what it finds is only printed.
        found = cast("list[object]", lmdb.verify.verify(str(data_file)))  # pyright: ignore[reportUnknownMemberType]
    except lmdb.verify.VerifyError as error:
        return [str(error)]
    return [str(finding) for finding in found]


def verify_beside(folder: Path) -> list[str]:
    """Like :func:`verify_pages`, of a hub that another process may be running.

    Raises:
      OSError, lmdb.Error: it cannot be read.
    """
    findings: list[str] = []
    with lmdb.open(str(folder), readonly=True, create=False) as environment, environment.begin():
        for _ in range(_TRIES):
            # A meta page that is being written while it is read looks damaged, and does not the next time.
            findings = verify_pages(folder / "data.mdb")
            if not findings:
                break
    return findings


def print_findings(folder: str) -> None:
    """What the process of its own does: print the findings as JSON."""
    import json  # noqa: PLC0415 - 1 ms, for hubs that were not left in order

    sys.stdout.write(json.dumps(verify_beside(Path(folder))))


def needs_verification(testimony: WitnessRecord | None, file_bytes: int) -> str | None:
    """When a hub is to be verified: ``"before"`` the first turn, ``"beside"`` the hub, or ``None``.

    Args:
      testimony: what the witness says about how the hub was left.
      file_bytes: size of the data file.
    """
    if testimony is not None and testimony.left is Left.CLOSED:
        return None
    only_the_process = testimony is not None and testimony.left is Left.OPEN and testimony.boot_id == this_boot() != ""
    return "beside" if only_the_process and file_bytes > AT_ONCE_BYTES else "before"


class VerificationBeside:
    """A verification by a process of its own, beside a hub that runs.

    Args:
      folder: the hub's folder.
      on_end: called in a thread of its own with what was found; with ``None`` if it could not be carried out.

    Attributes:
      ended: it has ended by itself.
    """

    def __init__(self, folder: Path, on_end: Callable[[list[str] | None], None]) -> None:
        self.ended = False
        self._on_end = on_end
        self._stopped = False
        self._process = subprocess.Popen(  # noqa: S603 - our own interpreter and our own words
            [sys.executable, "-c", _SCRIPT, str(folder)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        self._thread = Thread(target=self._wait, name="perdure-verification", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End it, if it has not ended."""
        self._stopped = True
        with suppress(OSError):
            self._process.kill()
        self._thread.join()

    def join(self) -> None:
        """Wait for its end."""
        self._thread.join()

    def _wait(self) -> None:
        printed, _ = self._process.communicate()
        if self._stopped:
            return
        import json  # noqa: PLC0415 - see above

        self._on_end(None if self._process.returncode else cast("list[str]", json.loads(printed)))
        self.ended = True
