"""Public names of a package whose modules are loaded when they are first asked for.

``import perdure.hub`` is what every program pays for; what only some use (reading the hub of another process, copying one,
HTTP) need not be part of it. Such a name is imported for type checkers alone, under ``if TYPE_CHECKING``; at run time the
package gets it from here (PEP 562), and from then on has it like any other. Type checkers must not see the ``__getattr__``:
they would take any name for one of the package's. What is loaded stands in an import statement of the package: nothing is
ever imported by a name that is a value.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from types import ModuleType


def names_loaded_later(
    package: str, names: Sequence[str], load: Callable[[], ModuleType]
) -> tuple[Callable[[str], object], Callable[[], list[str]]]:
    """The ``__getattr__`` and the ``__dir__`` of a package.

    Args:
      package: its ``__name__``.
      names: what is loaded later.
      load: imports the module that has all of them.
    """

    def get(name: str) -> object:
        if name not in names:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        value = getattr(load(), name)
        setattr(sys.modules[package], name, value)
        return value

    def listed() -> list[str]:
        return sorted({*vars(sys.modules[package]), *names})

    return get, listed
