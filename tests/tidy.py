"""The house rules as functions: from the modules of the tree to a list of violations.

``python -m tests.tidy`` checks the tree, prints what it finds, and fails if that is anything; ``test_tidy.py`` does the
same for each rule, and tries each rule on bad snippets. There is no list of exceptions: a rule that is wrong is changed
here.

Layers: a package imports only what stands below it, and no modules import each other in a circle. The sans-io packages
have no clock, no randomness of their own and no I/O: what they need comes in as an argument.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Final

from .tidy_modules import Module, graph_of, imports_of, meaning, meanings, modules_of, reachable

ROOT: Final = Path(__file__).parent.parent
# From the ground up. A package imports itself and whatever has a smaller number.
LAYERS: Final[Mapping[str, int]] = {
    "storage": 0,
    "entities": 1,
    "orchestration": 2,
    "hub": 3,
    "service": 4,
    "testing": 4,
}
PROGRAMS: Final = ("examples", "benchmarks")
NOT_INSTALLED: Final = frozenset({*PROGRAMS, "tests"})

FILE_LINES_MAX: Final = 400
FUNCTION_LINES_MAX: Final = 60

SANS_IO: Final = ("entities", "orchestration")
REFUSED_IN_SANS_IO: Final = frozenset(
    {
        *("asyncio", "concurrent", "multiprocessing", "sched", "secrets", "signal", "subprocess", "threading", "time"),
        *("http", "io", "lmdb", "os", "pathlib", "select", "shutil", "socket", "sqlite3", "ssl", "tempfile", "trio"),
    }
)
PURE_PARTS: Final = {
    "random": frozenset({"Random"}),
    "urllib": frozenset({"parse"}),
    "uuid": frozenset({"UUID", "SafeUUID"}),
}
CLOCKS: Final = re.compile(r"datetime\.(datetime|date)\.(now|utcnow|today)")
_ABOVE: Final = frozenset({"hub", "service", "testing"})
_STORAGE: Final = frozenset({"storage"})
HOMES: Final = {"trio": _ABOVE, "httpx": _ABOVE, "lmdb": _STORAGE, "cryptography": _STORAGE}
# Whoever opens a hub chooses an engine, and perhaps a codec that needs an extra; so nothing has to import them.
ENGINES: Final = frozenset({"storage.lmdb_store", "storage.memory_store", "storage.aes_gcm_codec"})
# Put together here, so that this file keeps its own rule.
MARKERS: Final = re.compile(r"\b(?:" + "|".join(("FIX" + "ME", "TO" + "DO", "XX" + "X")) + r")\b")

Rule = Callable[[Sequence[Module]], list[str]]
Function = ast.FunctionDef | ast.AsyncFunctionDef


# --- who imports whom


def imports_go_downward(modules: Sequence[Module]) -> list[str]:
    """A package imports only itself and what stands below it, and never a program or a test."""
    found: list[str] = []
    for module in modules:
        if module.package not in LAYERS:
            continue
        for item in imports_of(module):
            if item.top in NOT_INSTALLED:
                found.append(f"{module.at(item.line)} imports {item.full}, which is not installed with the packages")
            elif item.top in LAYERS and item.top != module.package and LAYERS[item.top] >= LAYERS[module.package]:
                found.append(f"{module.at(item.line)} {module.package} imports {item.full}, which does not stand below it")
    return found


def imports_are_written_one_way(modules: Sequence[Module]) -> list[str]:
    """Packages import each other with dots, programs by full name: else a module could be loaded twice."""
    found: list[str] = []
    for module in modules:
        for item in imports_of(module):
            if item.top in LAYERS and module.package in LAYERS and not item.is_relative:
                found.append(f"{module.at(item.line)} imports {item.written}; inside the packages, write it with dots")
            elif item.top in LAYERS and module.package not in LAYERS and not item.is_by_full_name:
                found.append(f"{module.at(item.line)} imports {item.written} from the folder; write perdure.{item.base}")
    return found


def no_cycles(modules: Sequence[Module]) -> list[str]:
    """No modules import each other in a circle, imports inside functions and for type checking counted."""
    graph = {name: set(targets) for name, targets in graph_of(modules).items()}
    by_name = {module.name: module for module in modules}
    found: list[str] = []
    while True:
        try:
            TopologicalSorter(graph).prepare()
        except CycleError as error:
            # It is given from the imported to the importer, with its first module again at the end.
            circle: list[str] = error.args[1][:0:-1]
            first = circle.index(min(circle))
            circle = [*circle[first:], *circle[: first + 1]]
            found.append(f"{by_name[circle[0]].at(1)} is in an import cycle: {' -> '.join(circle)}")
            # Cut it, to find the next one.
            graph[circle[0]].discard(circle[1])
        else:
            return found


def libraries_stay_home(modules: Sequence[Module]) -> list[str]:
    """Trio and httpx are used from the hub upward, LMDB in storage only."""
    return [
        f"{module.at(item.line)} imports {item.full}; {item.top} is used in {', '.join(sorted(HOMES[item.top]))} only"
        for module in modules
        if module.package in LAYERS
        for item in imports_of(module)
        if item.top in HOMES and module.package not in HOMES[item.top]
    ]


def storage_imports_no_engine(modules: Sequence[Module]) -> list[str]:
    """Importing ``perdure.storage`` loads no engine, not by a detour either."""
    by_name = {module.name: module for module in modules}
    names = {"storage", *reachable(graph_of(modules), ["storage"])}
    loaded = [by_name[name] for name in sorted(names) if name in by_name]
    engines = [module for module in loaded if module.name in ENGINES]
    found = [f"{module.at(1)} is an engine, and is imported with the package storage" for module in engines]
    return found + [
        f"{module.at(item.line)} imports {item.full}, and is itself imported with the package storage"
        for module in loaded
        for item in imports_of(module)
        if item.top == "lmdb"
    ]


def no_orphans(modules: Sequence[Module]) -> list[str]:
    """Every module of the packages is imported, by some way, by a package's ``__init__``, a ``__main__`` or an engine."""
    ours = [module for module in modules if module.package in LAYERS]
    # With a module, the packages that it lies in are imported.
    graph = {name: targets | {name.rpartition(".")[0]} for name, targets in graph_of(ours).items()}
    starts = ENGINES | {name for name in graph if "." not in name or name.endswith(".__main__")}
    reached = starts | set(reachable(graph, sorted(starts)))
    return [f"{module.at(1)} is used by no package; use it or delete it" for module in ours if module.name not in reached]


# --- the sans-io packages


def sans_io_is_pure(modules: Sequence[Module]) -> list[str]:
    """The sans-io packages have no clock, thread, file or network, and no randomness without a seed."""
    found: list[str] = []
    for module in modules:
        if module.package in SANS_IO:
            uses = sorted({*_impure_imports(module), *_impure_uses(module)})
            found += [f"{module.at(line)} {what}; {module.package} is sans-io: take it as an argument" for line, what in uses]
    return found


def _impure_imports(module: Module) -> Iterator[tuple[int, str]]:
    for item in imports_of(module):
        impure_part = item.name is not None and _is_impure_part(item.full)
        if not item.is_relative and (impure_part or item.top in REFUSED_IN_SANS_IO):
            yield item.line, f"imports {item.full}"


def _impure_uses(module: Module) -> Iterator[tuple[int, str]]:
    names = meanings(module)
    parts_of_names = {id(node.value) for node in ast.walk(module.tree) if isinstance(node, ast.Attribute)}
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Call):
            yield from _impure_call(node, names)
        if not isinstance(node, ast.Name | ast.Attribute) or id(node) in parts_of_names:
            continue
        what = meaning(node, names)
        if what is not None and (_is_impure_part(what) or CLOCKS.fullmatch(what)):
            yield node.lineno, f"uses {what}"


def _is_impure_part(what: str) -> bool:
    library, _, rest = what.partition(".")
    return library in PURE_PARTS and rest.partition(".")[0] not in PURE_PARTS[library]


def _impure_call(call: ast.Call, names: Mapping[str, str]) -> Iterator[tuple[int, str]]:
    """Randomness without a seed, made here or by whoever it is handed to; files and the terminal."""
    function = call.func.id if isinstance(call.func, ast.Name) else meaning(call.func, names)
    if function in ("open", "input"):
        yield call.lineno, f"calls {function}()"
    if meaning(call.func, names) == "random.Random":
        seeds = [*call.args, *(keyword.value for keyword in call.keywords)]
        if not seeds or (isinstance(seeds[0], ast.Constant) and seeds[0].value is None):
            yield call.lineno, "makes a random.Random without a seed"
    elif function not in ("isinstance", "cast", "typing.cast"):
        for value in (*call.args, *(keyword.value for keyword in call.keywords)):
            if meaning(value, names) == "random.Random":
                yield value.lineno, "hands on random.Random, to be called without a seed"


# --- shape


def files_are_short(modules: Sequence[Module]) -> list[str]:
    """No file is longer than it can be read in one go."""
    counted = [(module, len(module.source.splitlines())) for module in modules]
    return [
        f"{module.at(FILE_LINES_MAX + 1)} has {lines} lines, and {FILE_LINES_MAX} at most are allowed"
        for module, lines in counted
        if lines > FILE_LINES_MAX
    ]


def functions_are_short(modules: Sequence[Module]) -> list[str]:
    """No function is longer than a screen: from its ``def`` to its end, its docstring not counted."""
    found: list[str] = []
    for module in modules:
        for node in ast.walk(module.tree):
            if isinstance(node, Function):
                lines = _height(node) - (_height(node.body[0]) if ast.get_docstring(node) is not None else 0)
                if lines > FUNCTION_LINES_MAX:
                    said = f"has {lines} lines without its docstring, and {FUNCTION_LINES_MAX} at most are allowed"
                    found.append(f"{module.at(node.lineno)} {node.name} {said}")
    return found


def _height(node: ast.stmt) -> int:
    return (node.end_lineno or node.lineno) - node.lineno + 1


def nothing_prints(modules: Sequence[Module]) -> list[str]:
    """The packages never print: what has to be said is raised, returned or logged."""
    return [
        f"{module.at(node.lineno)} prints; raise, return or log it"
        for module in modules
        if module.package in LAYERS
        for node in ast.walk(module.tree)
        if isinstance(node, ast.Name) and node.id == "print"
    ]


def nothing_is_left_over(modules: Sequence[Module]) -> list[str]:
    """No marker of unfinished work anywhere."""
    return [
        f"{module.at(number)} has the marker {match[0]}; do it, or leave it out"
        for module in modules
        for number, line in enumerate(module.source.splitlines(), 1)
        if (match := MARKERS.search(line)) is not None
    ]


# --- what users read


def everything_is_documented(modules: Sequence[Module]) -> list[str]:
    """Every module has a docstring, and so has every public class, function and method of the packages."""
    found = [f"{module.at(1)} has no docstring" for module in modules if ast.get_docstring(module.tree) is None]
    for module in modules:
        if module.package in LAYERS:
            bare = _undocumented(module.tree.body, "")
            found += [f"{module.at(line)} {name} is public and has no docstring" for line, name in bare]
    return found


def _undocumented(body: Sequence[ast.stmt], prefix: str) -> Iterator[tuple[int, str]]:
    """Definitions in a module or class, also inside its ifs and tries, but not inside functions."""
    for node in body:
        if isinstance(node, ast.If | ast.Try):
            inner = [*node.body, *node.orelse, *(part for handler in getattr(node, "handlers", ()) for part in handler.body)]
            yield from _undocumented(inner, prefix)
        if not isinstance(node, ast.ClassDef | Function) or node.name.startswith("_"):
            continue
        # These speak through another definition of the same name, which has the docstring.
        decorators = [ast.unparse(decorator).rpartition(".")[2] for decorator in node.decorator_list]
        spoken_for = any(name in ("overload", "override", "setter", "deleter") for name in decorators)
        if ast.get_docstring(node) is None and not spoken_for:
            yield node.lineno, prefix + node.name
        if isinstance(node, ast.ClassDef):
            yield from _undocumented(node.body, f"{prefix}{node.name}.")


def exports_are_unique(modules: Sequence[Module]) -> list[str]:
    """Each package lists what it exports; all of that exists there, and no other package exports it too."""
    found: list[str] = []
    exporters: dict[str, str] = {}
    for module in modules:
        if module.name not in LAYERS:
            continue
        exported, here = _exported(module), _bound(module.tree.body)
        if exported is None:
            found.append(f"{module.at(1)} has no __all__ that is a plain list of names")
        for name in exported or []:
            if name not in here:
                found.append(f"{module.at(1)} exports {name}, which it does not have")
            if name in exporters:
                found.append(f"{module.at(1)} exports {name}, which {exporters[name]} exports already")
            exporters.setdefault(name, module.name)
    return found


def _exported(module: Module) -> list[str] | None:
    """What ``__all__`` lists, if it is a plain list that is never touched again."""
    mentions = [node for node in ast.walk(module.tree) if isinstance(node, ast.Name) and node.id == "__all__"]
    for node in module.tree.body:
        if isinstance(node, ast.Assign) and node.targets == mentions and isinstance(node.value, ast.List):
            listed = [item.value for item in node.value.elts if isinstance(item, ast.Constant)]
            names = [name for name in listed if isinstance(name, str)]
            return names if len(names) == len(node.value.elts) else None
    return None


def _bound(body: Sequence[ast.stmt]) -> set[str]:
    """The names that a module's top level binds; with what it imports for type checkers and gets when asked (PEP 562)."""
    found: set[str] = set()
    for node in body:
        if isinstance(node, ast.ClassDef | Function):
            found.add(node.name)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            found |= {alias.asname or alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            found |= {part.id for target in targets for part in ast.walk(target) if isinstance(part, ast.Name)}
        elif isinstance(node, ast.If) and "__getattr__" in _bound(node.orelse):
            found |= _bound(node.body)
    return found


RULES: Final[tuple[Rule, ...]] = (
    imports_go_downward,
    imports_are_written_one_way,
    no_cycles,
    libraries_stay_home,
    storage_imports_no_engine,
    no_orphans,
    sans_io_is_pure,
    files_are_short,
    functions_are_short,
    nothing_prints,
    nothing_is_left_over,
    everything_is_documented,
    exports_are_unique,
)


def main(root: Path = ROOT) -> int:
    """Check the tree below a folder, and print what is found.

    Returns:
      The exit code: 1 if there is anything.
    """
    modules = modules_of(root, (*LAYERS, *PROGRAMS))
    found = [violation for rule in RULES for violation in rule(modules)]
    print("\n".join([*found, f"{len(modules)} modules, {len(RULES)} rules, {len(found)} violations"]))
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
