"""What importing the packages loads, and that names which are loaded later are there all the same.

Each look is at a process of its own: in this one, everything was imported long ago.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
DEPENDENCIES = "attrs, cattrs, msgspec, outcome, trio"

LATER = {
    "what only some programs use": (
        "hub.checkup hub.on_demand hub.describing hub.exporting hub.folders hub.reader hub.waiting orchestration.http_call "
        "orchestration.http_message orchestration.http_polling orchestration.http_url hub.http_activity hub.http_client"
    ),
    "the engines": (
        "storage.aes_gcm_codec storage.lmdb_backup storage.lmdb_hubs storage.lmdb_reader storage.lmdb_salvage "
        "storage.lmdb_store storage.memory_store"
    ),
    "the layers above": "service testing",
}
"""Modules of ours that a program that imports the hub does not have yet."""

HEAVY = [
    "asyncio",
    "click",
    "cryptography",
    "email.utils",
    "http.client",
    "httpx",
    "json",
    "lmdb",
    "rich",
    "sqlite3",
    "urllib.request",
    "xml",
    "zoneinfo",
]
"""Modules of others that would be noticed: each takes a millisecond or more."""


def printed(program: str) -> set[str]:
    """The words that a program prints."""
    done = subprocess.run([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, check=True, timeout=60)
    return set(done.stdout.split())


def loaded(imports: str) -> set[str]:
    return printed(f"import sys, {imports}; print(*sys.modules)")


def test_importing_the_hub_loads_nothing_that_a_program_may_never_need() -> None:
    """Modules for rare verbs, the engines, and heavy ones of others are not loaded, unless a dependency does that anyway."""
    ours = {f"perdure.{name}" for names in LATER.values() for name in names.split()}

    found = loaded("perdure.hub") - loaded(DEPENDENCIES)

    assert "perdure.hub.task_hub" in found
    assert sorted(found & {*ours, *HEAVY}) == []


@pytest.mark.parametrize("name", [name for names in LATER.values() for name in names.split()])
def test_what_is_loaded_later_exists(name: str) -> None:
    """The list of modules that are not loaded has no name that was renamed since."""
    path = ROOT / name.replace(".", "/")
    assert path.with_suffix(".py").exists() or (path / "__init__.py").exists()


@pytest.mark.parametrize("package", ["storage", "entities", "orchestration", "hub"])
def test_public_names_are_there_before_they_are_loaded(package: str) -> None:
    """In a process that has only imported a package, ``dir`` lists all that it exports, and ``import *`` gets all of it."""
    program = f"""
import perdure.{package} as package
print(*{{f"{{name}}-is-not-listed" for name in package.__all__}} - {{f"{{name}}-is-not-listed" for name in dir(package)}})
from perdure.{package} import *
print(*(f"{{name}}-is-missing" for name in package.__all__ if name not in globals()))
print("done")
"""
    assert printed(program) == {"done"}


@pytest.mark.parametrize("package", ["orchestration", "hub"])
def test_a_name_that_is_not_there_is_refused_as_everywhere(package: str) -> None:
    """Asking a package that loads names later for one that it has not is an AttributeError, and importing it an ImportError."""
    program = f"""
import perdure.{package} as package
try:
    package.Missing
except AttributeError as error:
    print(str(error).replace(" ", "_"))
try:
    from perdure.{package} import Missing
except ImportError as error:
    print(type(error).__name__)
"""
    assert printed(program) == {f"module_'perdure.{package}'_has_no_attribute_'Missing'", "ImportError"}
