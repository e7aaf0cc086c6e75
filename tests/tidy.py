"""The house rules as functions: from source text to a list of violations.

Run as a program (``python -m tests.tidy``) it checks the tree and prints what it finds. Each rule is a function of
modules, so that ``test_tidy.py`` can try it on bad snippets.

Layers: a package may import only what stands below it, counting imports inside functions and for type checking alone;
no modules import each other in a circle. The sans-io packages have no clock, no randomness of their own and no I/O.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from attrs import field, frozen

ROOT = Path(__file__).parent.parent
LAYERS = ("storage", "entities", "orchestration", "hub")
SANS_IO = ("entities", "orchestration")
PROGRAMS = ("examples", "benchmarks")
FILE_LINES_MAX = 400
FUNCTION_LINES_MAX = 60
FORBIDDEN_IN_SANS_IO = frozenset(
    {"trio", "lmdb", "time", "threading", "asyncio", "os", "socket", "subprocess", "select", "signal"}
)
ONLY_FROM = {"random": frozenset({"Random"}), "uuid": frozenset({"UUID"})}
NOW = frozenset({"now", "utcnow", "today"})
ENGINES = frozenset({"storage.lmdb_store", "storage.memory_store"})
MARKERS = ("FIX" + "ME", "TO" + "DO", "XX" + "X")


@frozen
class Module:
    """A module of the tree.

    Attributes:
      name: such as ``hub.engine``; a package's own is ``hub``.
      source: its text.
      is_package: whether it is an ``__init__``.
    """

    name: str
    source: str
    is_package: bool = False
    tree: ast.Module = field(init=False)

    def __attrs_post_init__(self) -> None:
        object.__setattr__(self, "tree", ast.parse(self.source))

    @property
    def package(self) -> str:
        """The package that it belongs to."""
        return self.name.partition(".")[0]


Rule = Callable[[list[Module]], list[str]]


def modules_of(root: Path, packages: tuple[str, ...]) -> list[Module]:
    """The modules of some packages below a folder."""
    found: list[Module] = []
    for package in packages:
        for path in sorted((root / package).rglob("*.py")):
            parts = path.relative_to(root).with_suffix("").parts
            is_package = parts[-1] == "__init__"
            found.append(Module(".".join(parts[:-1] if is_package else parts), path.read_text(), is_package))
    return found


# --- imports


def imports_of(module: Module) -> Iterator[tuple[str, str | None]]:
    """Every import of a module as (module, name), wherever it stands; relative ones resolved, ``perdure.`` taken off."""
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name.removeprefix("perdure."), None
        elif isinstance(node, ast.ImportFrom):
            base = (node.module or "").removeprefix("perdure.")
            if node.level:
                parts = module.name.split(".")
                up = node.level - (1 if module.is_package else 0)
                base = ".".join([*parts[: len(parts) - up], *([base] if base else [])])
            for alias in node.names:
                yield base, alias.name


def internal_imports(module: Module, names: set[str]) -> set[str]:
    """The modules of the tree that a module imports."""
    found: set[str] = set()
    for base, name in imports_of(module):
        full = f"{base}.{name}" if name and base else (name or base)
        target = full if full in names else base
        if target in names and target != module.name:
            found.add(target)
    return found


def no_upward_imports(modules: list[Module]) -> list[str]:
    """A package imports only itself and what stands below it."""
    names = {module.name for module in modules}
    return [
        f"{module.name} imports {target}, which stands above it"
        for module in modules
        if module.package in LAYERS
        for target in sorted(internal_imports(module, names))
        if target.partition(".")[0] in LAYERS and LAYERS.index(target.partition(".")[0]) > LAYERS.index(module.package)
    ]


def no_cycles(modules: list[Module]) -> list[str]:
    """No modules import each other in a circle."""
    names = {module.name for module in modules}
    graph = {module.name: internal_imports(module, names) for module in modules}
    reach = {name: _reachable(graph, name) for name in graph}
    in_circles = sorted(name for name in graph if name in reach[name])
    return [f"{name} is in an import cycle with {', '.join(sorted(_partners(name, reach)))}" for name in in_circles]


def _reachable(graph: dict[str, set[str]], start: str) -> set[str]:
    seen: set[str] = set()
    waiting = list(graph[start])
    while waiting:
        name = waiting.pop()
        if name not in seen:
            seen.add(name)
            waiting.extend(graph.get(name, ()))
    return seen


def _partners(name: str, reach: dict[str, set[str]]) -> set[str]:
    return {other for other in reach[name] if name in reach.get(other, ()) and other != name} or {name}


def sans_io_is_pure(modules: list[Module]) -> list[str]:
    """The sans-io packages import no clock, thread, network, engine or scheduler, and no randomness without a seed."""
    found: list[str] = []
    for module in modules:
        if module.package not in SANS_IO:
            continue
        for base, name in imports_of(module):
            top = base.partition(".")[0]
            if top in FORBIDDEN_IN_SANS_IO:
                found.append(f"{module.name} imports {base}")
            elif top in ONLY_FROM and name is not None and name not in ONLY_FROM[top]:
                found.append(f"{module.name} imports {name} from {base}")
        found += [f"{module.name}:{line} uses {what}" for line, what in _impure_uses(module)]
    return found


def _impure_uses(module: Module) -> Iterator[tuple[int, str]]:
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            allowed = ONLY_FROM.get(node.value.id)
            if (allowed is not None and node.attr not in allowed) or (node.value.id in ("datetime", "date") and node.attr in NOW):
                yield node.lineno, f"{node.value.id}.{node.attr}"
        elif isinstance(node, ast.Call) and not node.args and ast.unparse(node.func) in ("random.Random", "Random"):
            yield node.lineno, "Random without a seed"


def libraries_stay_home(modules: list[Module]) -> list[str]:
    """Trio is used in the hub only, LMDB in storage only, and the storage package itself imports no engine."""
    found: list[str] = []
    for module in modules:
        for base, name in imports_of(module):
            top = base.partition(".")[0]
            if (top == "trio" and module.package in LAYERS[:-1]) or (top == "lmdb" and module.package in LAYERS[1:]):
                found.append(f"{module.name} imports {top}")
            if module.name == "storage" and (base in ENGINES or f"{base}.{name}" in ENGINES):
                found.append(f"storage imports the engine {base}")
    return found


def no_orphans(modules: list[Module]) -> list[str]:
    """Every module is imported by another one; the engines may be imported by programs alone."""
    names = {module.name for module in modules}
    imported = set().union(*(internal_imports(module, names) for module in modules))
    return [
        f"nobody imports {module.name}"
        for module in modules
        if module.package in LAYERS and not module.is_package and module.name not in imported | ENGINES
    ]


# --- shape and words


def files_are_short(modules: list[Module]) -> list[str]:
    """No file is longer than it can be read in one go."""
    counted = [(module.name, len(module.source.splitlines())) for module in modules]
    return [f"{name} has {lines} lines, at most {FILE_LINES_MAX}" for name, lines in counted if lines > FILE_LINES_MAX]


def functions_are_short(modules: list[Module]) -> list[str]:
    """No function is longer than a screen, its docstring not counted."""
    found: list[str] = []
    for module in modules:
        for node in ast.walk(module.tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                first = node.body[1] if ast.get_docstring(node) is not None and len(node.body) > 1 else node.body[0]
                lines = (node.end_lineno or 0) - first.lineno + 1
                if lines > FUNCTION_LINES_MAX:
                    found.append(f"{module.name}.{node.name} has {lines} lines, at most {FUNCTION_LINES_MAX}")
    return found


def everything_is_documented(modules: list[Module]) -> list[str]:
    """Every module has a docstring, and so has every public class and function of the packages."""
    found = [f"{module.name} has no docstring" for module in modules if ast.get_docstring(module.tree) is None]
    for module in modules:
        if module.package in LAYERS:
            found += [f"{module.name}.{name} has no docstring" for name in _undocumented(module.tree, "")]
    return found


def _undocumented(scope: ast.Module | ast.ClassDef, prefix: str) -> Iterator[str]:
    for node in scope.body:
        if not isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) or node.name.startswith("_"):
            continue
        overloaded = any(ast.unparse(decorator).endswith(("overload", ".setter")) for decorator in node.decorator_list)
        if ast.get_docstring(node) is None and not overloaded:
            yield prefix + node.name
        if isinstance(node, ast.ClassDef):
            yield from _undocumented(node, f"{prefix}{node.name}.")


def exports_are_unique(modules: list[Module]) -> list[str]:
    """What a package exports exists there, and no other package exports it too."""
    found: list[str] = []
    exporters: dict[str, str] = {}
    for module in modules:
        if not module.is_package or module.package not in LAYERS:
            continue
        defined = {name for _, name in imports_of(module)}
        for name in _exported(module):
            if name not in defined:
                found.append(f"{module.name} exports {name}, which it does not have")
            if name in exporters:
                found.append(f"{module.name} exports {name}, and so does {exporters[name]}")
            exporters.setdefault(name, module.name)
    return found


def _exported(module: Module) -> list[str]:
    for node in module.tree.body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            return list(ast.literal_eval(node.value))
    return []


def nothing_is_left_over(modules: list[Module]) -> list[str]:
    """No markers of unfinished work anywhere, no print in the packages."""
    found: list[str] = []
    for module in modules:
        lines = enumerate(module.source.splitlines(), 1)
        found += [f"{module.name}:{number} has a marker" for number, line in lines if any(mark in line for mark in MARKERS)]
        if module.package in LAYERS:
            calls = [node for node in ast.walk(module.tree) if isinstance(node, ast.Call)]
            found += [f"{module.name}:{call.lineno} prints" for call in calls if ast.unparse(call.func) == "print"]
    return found


RULES: tuple[Rule, ...] = (
    no_upward_imports,
    no_cycles,
    sans_io_is_pure,
    libraries_stay_home,
    no_orphans,
    files_are_short,
    functions_are_short,
    everything_is_documented,
    exports_are_unique,
    nothing_is_left_over,
)


def main() -> int:
    """Check the tree; print what is found."""
    modules = modules_of(ROOT, (*LAYERS, *PROGRAMS))
    found = [violation for rule in RULES for violation in rule(modules)]
    print("\n".join(found) or f"{len(modules)} modules keep the rules")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
