"""Public names of a package whose modules are loaded when they are first asked for.

``import perdure.hub`` is what every program pays for; what only some use (reading the hub of another process, copying one,
HTTP) need not be part of it. Such a name is imported for type checkers alone, under ``if TYPE_CHECKING``; at run time the
package gets it from here (PEP 562), and from then on has it like any other. Type checkers must not see the ``__getattr__``:
they would take any name for one of the package's.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from importlib import import_module


def names_loaded_later(package: str, module_of: Mapping[str, str]) -> tuple[Callable[[str], object], Callable[[], list[str]]]:
    """The ``__getattr__`` and the ``__dir__`` of a package.

    Args:
      package: its ``__name__``.
      module_of: for each name that is loaded later, the module of the package that has it.
    """

    def load(name: str) -> object:
        if name not in module_of:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        value = getattr(import_module(f"{package}.{module_of[name]}"), name)
        setattr(sys.modules[package], name, value)
        return value

    def names() -> list[str]:
        return sorted({*vars(sys.modules[package]), *module_of})

    return load, names
