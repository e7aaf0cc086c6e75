"""The tree keeps the house rules; each rule finds what it is there to find, and leaves the rest alone."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from attrs import frozen

from . import tidy
from .tidy import ENGINES, LAYERS, PROGRAMS, ROOT, RULES, Rule
from .tidy_modules import Module, graph_of, imports_of, modules_of

DOC = '"""What it is for."""\n'


# --- the tree


@pytest.fixture(scope="module")
def tree() -> list[Module]:
    return modules_of(ROOT, (*LAYERS, *PROGRAMS))


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_the_tree_keeps_the_rule(rule: Rule, tree: list[Module]) -> None:
    """No module of the packages, the examples or the benchmarks breaks this rule."""
    assert rule(tree) == []


def test_every_installed_package_is_looked_at(tree: list[Module]) -> None:
    """The folders that hold modules of a layer are just the packages that ``pyproject.toml`` installs, each from its folder."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    folders = {module.path.rpartition("/")[0] for module in tree if module.package in LAYERS}

    assert set(settings["packages"]) == {"perdure." + folder.replace("/", ".") for folder in folders}
    assert settings["package-dir"] == {f"perdure.{folder}": folder for folder in folders if "/" not in folder}


def test_every_package_tells_type_checkers_that_it_is_typed(tree: list[Module]) -> None:
    """Each top package has a ``py.typed``."""
    packages = {module.package for module in tree if module.package in LAYERS}

    assert [package for package in sorted(packages) if not (ROOT / package / "py.typed").exists()] == []


def test_the_engines_are_there(tree: list[Module]) -> None:
    """The engines that the rules know by name exist: a renamed one would slip through."""
    assert {module.name for module in tree} >= ENGINES


# --- the rules


@frozen
class Bad:
    """Modules that break a rule, and where it says so."""

    rule: Rule
    places: list[str]
    modules: list[Module]


def module(name: str, source: str = "", *, doc: bool = True) -> Module:
    """A module; ``hub/`` is the package ``hub`` itself. Line 1 is a docstring."""
    return Module(name.rstrip("/"), (DOC if doc else "") + source, is_package=name.endswith("/"))


def bad(rule: Rule, place: str, *modules: Module) -> Bad:
    return Bad(rule, place.split(), list(modules))


def impure(source: str) -> Bad:
    """A last line that no sans-io module may have."""
    line = source.count("\n") + 2
    return bad(tidy.sans_io_is_pure, f"entities/a.py:{line}:", module("entities.a", source))


UPWARD = tidy.imports_go_downward
ONE_WAY = tidy.imports_are_written_one_way
DOCUMENTED = tidy.everything_is_documented
EXPORTS = tidy.exports_are_unique

BAD = {
    "an upward import": bad(UPWARD, "entities/a.py:2:", module("entities.a", "from ..hub.b import x")),
    "an upward import of a package": bad(UPWARD, "entities/a.py:2:", module("entities.a", "from .. import hub")),
    "an upward import inside a function": bad(
        UPWARD, "storage/a.py:3:", module("storage.a", "def f():\n    from ..entities import b")
    ),
    "an upward import for type checking": bad(
        UPWARD,
        "orchestration/a.py:4:",
        module("orchestration.a", "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from ..hub import b"),
    ),
    "an upward import by its full name": bad(UPWARD, "storage/a.py:2:", module("storage.a", "import perdure.hub.b")),
    "an upward import by a text": bad(
        UPWARD, "storage/a.py:3:", module("storage.a", "import importlib\nimportlib.import_module('perdure.hub')")
    ),
    "a neighbour of the same height": bad(UPWARD, "testing/a.py:2:", module("testing.a", "from ..service import b")),
    "a package that imports a program": bad(UPWARD, "hub/a.py:2:", module("hub.a", "from examples import flights")),
    "a full name inside a package": bad(ONE_WAY, "hub/a.py:2:", module("hub.a", "from perdure.hub import b")),
    "a folder's name inside a package": bad(ONE_WAY, "hub/a.py:2:", module("hub.a", "import storage.values")),
    "a folder's name inside a program": bad(ONE_WAY, "benchmarks/a.py:2:", module("benchmarks.a", "from hub import x")),
    "a cycle of two": bad(
        tidy.no_cycles, "hub/a.py:1:", module("hub.b", "from .a import x"), module("hub.a", "from .b import y")
    ),
    "a cycle of lazy and typing imports": bad(
        tidy.no_cycles,
        "hub/a.py:1:",
        module("hub.a", "from .b import x"),
        module("hub.b", "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from .c import y"),
        module("hub.c", "def f():\n    from . import a"),
    ),
    "a cycle through the package": bad(
        tidy.no_cycles, "hub/__init__.py:1:", module("hub/", "from .a import x"), module("hub.a", "from . import x")
    ),
    "two cycles": bad(
        tidy.no_cycles,
        "hub/a.py:1: hub/c.py:1:",
        module("hub.a", "from . import b"),
        module("hub.b", "from . import a"),
        module("hub.c", "from . import d"),
        module("hub.d", "from . import c"),
    ),
    "trio in storage": bad(tidy.libraries_stay_home, "storage/a.py:2:", module("storage.a", "from trio import sleep")),
    "trio in a sans-io package": bad(tidy.libraries_stay_home, "entities/a.py:2:", module("entities.a", "import trio")),
    "httpx in a sans-io package": bad(
        tidy.libraries_stay_home, "orchestration/a.py:2:", module("orchestration.a", "import httpx")
    ),
    "lmdb in the hub": bad(tidy.libraries_stay_home, "hub/a.py:2:", module("hub.a", "import lmdb.verify")),
    "an engine in storage itself": bad(
        tidy.storage_imports_no_engine,
        "storage/memory_store.py:1:",
        module("storage/", "from .memory_store import MemoryStore"),
        module("storage.memory_store"),
    ),
    "an engine in storage by a detour": bad(
        tidy.storage_imports_no_engine,
        "storage/b.py:2:",
        module("storage/", "from .a import x"),
        module("storage.a", "def f():\n    from .b import y"),
        module("storage.b", "import lmdb"),
    ),
    "an orphan": bad(tidy.no_orphans, "hub/lost.py:1:", module("hub/"), module("hub.lost")),
    "two orphans that hold each other": bad(
        tidy.no_orphans, "hub/a.py:1: hub/b.py:1:", module("hub.a", "from . import b"), module("hub.b", "from . import a")
    ),
    "a module that only a program imports": bad(
        tidy.no_orphans, "hub/a.py:1:", module("hub.a"), module("examples.b", "from perdure.hub.a import x")
    ),
    "an import of trio": impure("import trio"),
    "an import of a clock": impure("from time import monotonic"),
    "an import inside a function": impure("def f():\n    import threading"),
    "an import of a submodule": impure("import concurrent.futures"),
    "a random function": impure("from random import choice"),
    "everything that is random": impure("from random import *"),
    "a random function by its module": impure("import random\nrandom.random()"),
    "a random function that is not called": impure("import random as r\nf = r.random"),
    "the random module as a value": impure("import random\nsource = random"),
    "randomness without a seed": impure("import random\nrandom.Random()"),
    "randomness with no seed": impure("from random import Random\nRandom(None)"),
    "randomness made elsewhere": impure("import random\nfrom attrs import field\nfield(factory=random.Random)"),
    "uuid4": impure("from uuid import uuid4"),
    "uuid4 by its module": impure("import uuid as u\nu.uuid4()"),
    "uuid4 as a default": impure("import uuid\nfrom attrs import field\nfield(factory=uuid.uuid4)"),
    "the network by a neighbour of what is pure": impure("from urllib.request import urlopen"),
    "a module with pure and other parts as a value": impure("import urllib\nparts = urllib"),
    "now": impure("from datetime import datetime\ndatetime.now()"),
    "utcnow by its module": impure("import datetime\ndatetime.datetime.utcnow()"),
    "today under another name": impure("from datetime import date as d\nd.today()"),
    "a file": impure("open('x')"),
    "a long file": bad(tidy.files_are_short, "hub/a.py:401:", module("hub.a", "x = 1\n" * 400)),
    "a long function": bad(
        tidy.functions_are_short, "hub/a.py:2:", module("hub.a", "def f():\n    'It is long.'\n" + "    x = 1\n" * 60)
    ),
    "a long method": bad(
        tidy.functions_are_short, "hub/a.py:3:", module("hub.a", "class A:\n  async def f():\n" + "    x = 1\n" * 60)
    ),
    "a print": bad(tidy.nothing_prints, "hub/a.py:2:", module("hub.a", "print(1)")),
    "a print that is handed on": bad(tidy.nothing_prints, "hub/a.py:2:", module("hub.a", "listen(print)")),
    "a marker": bad(tidy.nothing_is_left_over, "hub/a.py:2:", module("hub.a", "x = 1  # TO" + "DO: y")),
    "a module without docstring": bad(DOCUMENTED, "examples/a.py:1:", module("examples.a", "x = 1", doc=False)),
    "a function without docstring": bad(DOCUMENTED, "hub/a.py:2:", module("hub.a", "def f(): pass")),
    "a class without docstring": bad(DOCUMENTED, "hub/a.py:2:", module("hub.a", "class A: pass")),
    "a method without docstring": bad(DOCUMENTED, "hub/a.py:4:", module("hub.a", "class A:\n  'It is.'\n  def f(self): pass")),
    "a function without docstring in a condition": bad(
        DOCUMENTED, "hub/a.py:5:", module("hub.a", "if x:\n  y = 1\nelse:\n  def f(): pass")
    ),
    "an export that is not there": bad(EXPORTS, "hub/__init__.py:1:", module("hub/", "__all__ = ['x']")),
    "an export of two packages": bad(
        EXPORTS,
        "hub/__init__.py:1:",
        module("storage/", "from .a import x\n__all__ = ['x']"),
        module("hub/", "from ..storage.a import x\n__all__ = ['x']"),
    ),
    "a name exported twice": bad(EXPORTS, "hub/__init__.py:1:", module("hub/", "x = 1\n__all__ = ['x', 'x']")),
    "no exports": bad(EXPORTS, "hub/__init__.py:1:", module("hub/", "from .a import x")),
    "an export for type checkers only": bad(
        EXPORTS, "hub/__init__.py:1:", module("hub/", "if TYPE_CHECKING:\n    from .a import x\n__all__ = ['x']")
    ),
    "exports that are computed": bad(EXPORTS, "hub/__init__.py:1:", module("hub/", "__all__ = list_of(hub)")),
    "exports that are added to": bad(EXPORTS, "hub/__init__.py:1:", module("hub/", "__all__ = []\n__all__ += more")),
}


@pytest.mark.parametrize("what", BAD)
def test_a_rule_finds_what_it_is_for(what: str) -> None:
    """The rule reports each place of the bad snippet that was made for it, and no other place."""
    case = BAD[what]

    assert [violation.split()[0] for violation in case.rule(case.modules)] == case.places


def test_every_rule_has_a_bad_snippet() -> None:
    """No rule is there that never was seen to find something."""
    assert {case.rule for case in BAD.values()} == set(RULES)


GOOD = {
    "downward imports": [
        module("storage/", "__all__ = []"),
        module("entities/", "from . import a\n__all__ = []"),
        module("entities.a", "from .. import storage\nfrom ..storage import x"),
        module("hub/", "from .a import x\n__all__ = ['x']"),
        module("hub.a", "import trio\nfrom ..entities.a import y"),
        module("testing/", "from ..hub import x\n__all__ = []"),
        module("benchmarks.a", "from perdure import hub\nimport perdure.storage\nfrom .b import x"),
    ],
    "names that are loaded when they are asked for": [
        module("hub/", "if TYPE_CHECKING:\n    from .a import x\nelse:\n    __getattr__ = later('x')\n__all__ = ['x']"),
        module("hub.a", "x = 1"),
    ],
    "a module and its package": [
        module("hub/", "from .a import x\n__all__ = []"),
        module("hub.a", "from .b import x"),
        module("hub.b", "x = 1"),
    ],
    "engines, entry points and what they use": [
        module("storage.lmdb_store", "import lmdb\nfrom .pages import x"),
        module("storage.pages"),
        module("hub.__main__", "from .inner.commands import run"),
        module("hub.inner/", "from .helpers import x"),
        module("hub.inner.commands"),
        module("hub.inner.helpers"),
    ],
    "what sans-io code may use": [
        module("entities/", "from . import a\n__all__ = []"),
        module(
            "entities.a",
            "import datetime, random, uuid\nfrom datetime import UTC, time\nfrom urllib.parse import urljoin\nfrom uuid import UUID\n"
            "source: random.Random = random.Random(7)\nn = source.random()\nu = uuid.UUID(int=1)\n"
            "now = datetime.datetime(2026, 1, 1, tzinfo=UTC)\nok = isinstance(source, random.Random)\n"
            "then = context.now()\nstore.open()\nid = context.uuid4()",
        ),
    ],
    "a clock in the hub": [
        module("hub/", "from . import a\n__all__ = []"),
        module("hub.a", "import random, time, uuid\nt = time.time(), random.random(), uuid.uuid4(), open('x')"),
    ],
    "just short enough": [
        module("examples.a", "x = 1\n" * 399),
        module("examples.b", "def f():\n    '''It\n    is.'''\n" + "    x = 1\n" * 59),
    ],
    "words that are no markers, and a program that prints": [module("examples.a", "print('TO" + "DOS', 'todo')")],
    "what needs no docstring": [
        module("hub/", "from . import a\n__all__ = []"),
        module(
            "hub.a",
            "def _f(): pass\nclass _A:\n  def f(self): pass\nclass B:\n  'It is.'\n  def __init__(self): pass\n"
            "  @override\n  def f(self): pass\n  @typing.overload\n  def g(self): ...\n  @x.setter\n  def x(self): pass\n"
            "def h():\n  'It is.'\n  def inner(): pass",
        ),
        module("examples.a", "def f(): pass"),
    ],
}


@pytest.mark.parametrize("what", GOOD)
def test_good_modules_are_left_alone(what: str) -> None:
    """No rule says anything about modules that keep them all."""
    assert [violation for rule in RULES for violation in rule(GOOD[what])] == []


def test_the_program_reports_and_fails(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Run on a tree that breaks a rule, the program names the place and exits with 1; once that is mended, with 0."""
    (tmp_path / "examples").mkdir()
    program = tmp_path / "examples" / "a.py"

    program.write_text("x = 1")
    assert tidy.main(tmp_path) == 1
    assert capsys.readouterr().out.startswith("examples/a.py:1: has no docstring\n1 modules, ")

    program.write_text(DOC)
    assert tidy.main(tmp_path) == 0


# --- how imports are read


@pytest.mark.parametrize(
    ("name", "source", "expected"),
    [
        ("hub.a", "from .b import x", "hub.b.x"),
        ("hub/", "from .b import x", "hub.b.x"),
        ("hub.inner.a", "from ...storage import x", "storage.x"),
        ("hub.inner/", "from ..b import x", "hub.b.x"),
        ("hub.a", "from .. import storage", "storage"),
        ("tests.a", "from perdure.storage.values import x", "storage.values.x"),
        ("tests.a", "from perdure import storage", "storage"),
        ("tests.a", "import perdure.storage.values as v", "storage.values"),
        ("tests.a", "__import__('trio.testing')", "trio.testing"),
    ],
)
def test_imports_are_resolved(name: str, source: str, expected: str) -> None:
    """However an import is written, it is known which module of the tree or of a library it means."""
    assert [item.full for item in imports_of(module(name, source))] == [expected]


def test_an_import_leads_to_the_submodule_if_there_is_one() -> None:
    """A name taken from a package is an edge to the submodule of that name, else to the package."""
    graph = graph_of([module("hub/"), module("hub.a"), module("hub.b", "from . import a\nfrom . import other")])

    assert graph["hub.b"] == {"hub.a", "hub"}


def test_a_file_that_is_no_python_is_named() -> None:
    """A syntax error names the file that has it."""
    with pytest.raises(SyntaxError) as caught:
        module("hub.a", "def")

    assert caught.value.filename == "hub/a.py"
