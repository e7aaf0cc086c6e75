"""The tree keeps the house rules, and each rule finds what it is there to find."""

from __future__ import annotations

import pytest

from tests import tidy
from tests.tidy import LAYERS, PROGRAMS, ROOT, RULES, Module, Rule, modules_of

DOC = '"""What it is for."""\n'


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_the_tree_keeps_the_rule(rule: Rule) -> None:
    """No module of the packages, the examples or the benchmarks breaks this rule."""
    assert rule(modules_of(ROOT, (*LAYERS, *PROGRAMS))) == []


def test_the_tree_is_seen() -> None:
    """The rules look at every package, not at an empty list."""
    seen = {module.package for module in modules_of(ROOT, LAYERS)}

    assert seen == set(LAYERS)


BAD: dict[str, tuple[Rule, list[Module]]] = {
    "an upward import": (
        tidy.no_upward_imports,
        [Module("entities.a", "from ..hub.b import x"), Module("hub.b", "x = 1")],
    ),
    "an upward import inside a function": (
        tidy.no_upward_imports,
        [Module("storage.a", "def f():\n    from ..entities import b"), Module("entities.b", "")],
    ),
    "an upward import by its full name": (
        tidy.no_upward_imports,
        [Module("storage.a", "import perdure.hub.b"), Module("hub.b", "")],
    ),
    "a cycle through a typing import": (
        tidy.no_cycles,
        [
            Module("hub.a", "from .b import x"),
            Module("hub.b", "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from .c import y"),
            Module("hub.c", "def f():\n    from . import a"),
        ],
    ),
    "trio in a sans-io package": (tidy.sans_io_is_pure, [Module("entities.a", "import trio")]),
    "a clock in a sans-io package": (tidy.sans_io_is_pure, [Module("orchestration.a", "from time import monotonic")]),
    "module-level randomness": (tidy.sans_io_is_pure, [Module("entities.a", "import random\nrandom.random()")]),
    "uuid4": (tidy.sans_io_is_pure, [Module("entities.a", "from uuid import uuid4")]),
    "uuid4 by its module": (tidy.sans_io_is_pure, [Module("entities.a", "import uuid\nuuid.uuid4()")]),
    "now": (tidy.sans_io_is_pure, [Module("entities.a", "from datetime import datetime\ndatetime.now()")]),
    "randomness without a seed": (tidy.sans_io_is_pure, [Module("entities.a", "import random\nrandom.Random()")]),
    "trio in storage": (tidy.libraries_stay_home, [Module("storage.a", "import trio")]),
    "lmdb in the hub": (tidy.libraries_stay_home, [Module("hub.a", "import lmdb")]),
    "an engine in storage itself": (tidy.libraries_stay_home, [Module("storage", "from . import lmdb_store", is_package=True)]),
    "an orphan": (tidy.no_orphans, [Module("hub", "", is_package=True), Module("hub.lost", "")]),
    "a long file": (tidy.files_are_short, [Module("hub.a", "x = 1\n" * 401)]),
    "a long function": (tidy.functions_are_short, [Module("hub.a", "def f():\n" + "    x = 1\n" * 61)]),
    "a module without docstring": (tidy.everything_is_documented, [Module("hub.a", "x = 1")]),
    "a function without docstring": (tidy.everything_is_documented, [Module("hub.a", DOC + "def f():\n    pass")]),
    "a method without docstring": (
        tidy.everything_is_documented,
        [Module("hub.a", DOC + "class A:\n    'x'\n    def f(self):\n        pass")],
    ),
    "an export that is not there": (tidy.exports_are_unique, [Module("hub", "__all__ = ['x']", is_package=True)]),
    "an export of two packages": (
        tidy.exports_are_unique,
        [
            Module("hub", "from .a import x\n__all__ = ['x']", is_package=True),
            Module("storage", "from .a import x\n__all__ = ['x']", is_package=True),
        ],
    ),
    "a marker": (tidy.nothing_is_left_over, [Module("hub.a", "x = 1  # " + tidy.MARKERS[0])]),
    "a print": (tidy.nothing_is_left_over, [Module("hub.a", "print(1)")]),
}


@pytest.mark.parametrize("what", BAD)
def test_a_rule_finds_what_it_is_for(what: str) -> None:
    """Each rule reports the bad snippet that was made for it."""
    rule, modules = BAD[what]

    assert rule(modules) != []


def test_good_modules_are_left_alone() -> None:
    """Downward imports, seeded randomness and plain UUIDs break no rule."""
    source = DOC + "import random\nimport uuid\nfrom ..storage import b\nx = random.Random(1), uuid.UUID(int=1)"
    modules = [
        Module("entities.a", source),
        Module("storage.b", DOC),
        Module("storage", DOC, is_package=True),
        Module("hub.c", DOC + "from ..entities import a"),
        Module("hub", DOC + "from . import c", is_package=True),
    ]

    assert [violation for rule in RULES for violation in rule(modules)] == []
