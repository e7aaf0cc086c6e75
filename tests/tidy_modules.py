"""The tree as the house rules see it: modules, what they import, and what their names stand for.

Nothing is imported to be looked at: a module is its text and its syntax tree. An import counts wherever it stands, also
inside a function, under ``TYPE_CHECKING``, or as a constant text given to ``importlib.import_module``. Our own modules
go by their place in the tree: ``hub.engine`` is ``hub/engine.py`` and, once installed, ``perdure.hub.engine``.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from attrs import field, frozen

Graph = Mapping[str, frozenset[str]]


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
    tree: ast.Module = field(init=False, repr=False, eq=False)

    def __attrs_post_init__(self) -> None:
        object.__setattr__(self, "tree", ast.parse(self.source, self.path))

    @property
    def package(self) -> str:
        """The top folder that it belongs to."""
        return self.name.partition(".")[0]

    @property
    def path(self) -> str:
        """Its file, from the root of the repository."""
        return self.name.replace(".", "/") + ("/__init__.py" if self.is_package else ".py")

    def at(self, line: int) -> str:
        """The beginning of a violation: a place that editors jump to."""
        return f"{self.path}:{line}:"


def modules_of(root: Path, folders: Sequence[str]) -> list[Module]:
    """The modules below some folders of a root; a folder that is not there has none."""
    found: list[Module] = []
    for folder in folders:
        for path in sorted((root / folder).rglob("*.py")):
            parts = path.relative_to(root).with_suffix("").parts
            is_package = parts[-1] == "__init__"
            found.append(Module(".".join(parts[:-1] if is_package else parts), path.read_text("utf-8"), is_package))
    return found


@frozen
class Import:
    """One name that a module imports.

    Attributes:
      line: where.
      written: the module it comes from, as the text has it, leading dots included.
      base: the same, resolved, with ``perdure.`` taken off.
      name: what is taken out of the base; ``None`` for the base itself.
    """

    line: int
    written: str
    base: str
    name: str | None

    @property
    def is_relative(self) -> bool:
        """Whether it was written with leading dots."""
        return self.written.startswith(".")

    @property
    def is_by_full_name(self) -> bool:
        """Whether it was written as users of the packages write it."""
        return self.written.partition(".")[0] == "perdure"

    @property
    def top(self) -> str:
        """The first part: a library, or one of our folders."""
        return self.base.partition(".")[0]

    @property
    def full(self) -> str:
        """Base and name."""
        return self.base if self.name is None else f"{self.base}.{self.name}"


def imports_of(module: Module) -> Iterator[Import]:
    """Every import of a module, wherever it stands."""
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield _import(module, node.lineno, alias.name, None)
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                yield _import(module, node.lineno, "." * node.level + (node.module or ""), alias.name)
        elif isinstance(node, ast.Call) and _last_name(node.func) in ("import_module", "__import__"):
            for argument in node.args[:1]:
                if isinstance(argument, ast.Constant) and isinstance(argument.value, str):
                    yield _import(module, node.lineno, argument.value, None)


def _last_name(node: ast.expr) -> str:
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else ""


def _import(module: Module, line: int, written: str, name: str | None) -> Import:
    """Resolve leading dots as Python does, and take ``perdure.`` off."""
    rest = written.lstrip(".")
    level = len(written) - len(rest)
    if level:
        parts = module.name.split(".")
        here = parts[: len(parts) - level + (1 if module.is_package else 0)]
        base = ".".join([*here, *([rest] if rest else [])])
    else:
        base = "" if rest == "perdure" else rest.removeprefix("perdure.")
    # ``from .. import hub`` and ``from perdure import hub`` name a folder of ours.
    return Import(line, written, base, name) if base else Import(line, written, name or "", None)


def graph_of(modules: Sequence[Module]) -> Graph:
    """Which modules of the tree each module imports.

    ``from .a import x`` leads to the submodule ``a.x`` if there is one, and else to ``a``. It does not lead to the
    packages above: those are imported on the way, but nothing is taken out of them.
    """
    names = {module.name for module in modules}
    graph: dict[str, frozenset[str]] = {}
    for module in modules:
        wanted = ((item.full, item.base) for item in imports_of(module))
        targets = (full if full in names else base for full, base in wanted)
        graph[module.name] = frozenset(target for target in targets if target in names and target != module.name)
    return graph


def reachable(graph: Graph, starts: Sequence[str]) -> dict[str, str]:
    """What can be reached from some modules, themselves left out, each with the module it was first reached from."""
    seen: dict[str, str] = {}
    waiting = list(starts)
    while waiting:
        name = waiting.pop()
        for target in sorted(graph.get(name, ())):
            if target not in seen:
                seen[target] = name
                waiting.append(target)
    return seen


def meanings(module: Module) -> dict[str, str]:
    """What each imported name stands for: after ``from datetime import datetime as dt``, ``dt`` is ``datetime.datetime``."""
    found: dict[str, str] = {}
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                top = alias.name.partition(".")[0]
                found[alias.asname or top] = alias.name if alias.asname else top
        elif isinstance(node, ast.ImportFrom) and not node.level:
            for alias in node.names:
                found[alias.asname or alias.name] = f"{node.module}.{alias.name}"
    return found


def meaning(node: ast.AST, names: Mapping[str, str]) -> str | None:
    """The dotted name behind an expression, such as ``uuid.uuid4`` for ``u.uuid4`` after ``import uuid as u``."""
    if isinstance(node, ast.Name):
        return names.get(node.id)
    if isinstance(node, ast.Attribute):
        base = meaning(node.value, names)
        return None if base is None else f"{base}.{node.attr}"
    return None
