"""What a fresh process has of this program, and which activities can therefore run in one.

Worker processes are *spawned* as by ``multiprocessing``: they inherit no memory, and so no LMDB, no locks and no threads of the
hub. They import the program's modules again, its main module under the name ``__mp_main__``, and find each activity there under
its name. So a function that has no name in a module, or whose module cannot be imported again, cannot run in a process; that is
told when it is defined to a hub, and not when it is called.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final

from attrs import frozen

from ..entities.errors import DefinitionError
from ..orchestration.definition import Activity
from . import limits

if TYPE_CHECKING:
    import cattrs

AnyActivity = Activity[Any, *tuple[Any, ...]]

STARTING: Final = "perdure worker process (starting)"
"""The name of a worker process until it has imported the program's modules."""


@frozen
class WorkerSettings:
    """What a hub's worker processes need to know.

    Attributes:
      activities: those that they run, each as its module has it.
      make_converter: makes the converter of values; ``None`` for the usual one.
      value_bytes_max: how many bytes one value may take, encoded.
      processes_max: how many there are at most.
      calls_max: after so many attempts one is replaced.
    """

    activities: tuple[AnyActivity, ...] = ()
    make_converter: Callable[[], cattrs.Converter] | None = None
    value_bytes_max: int = limits.VALUE_BYTES_MAX
    processes_max: int = limits.PROCESSES_MAX
    calls_max: int = limits.PROCESS_CALLS_MAX


def activities_for_processes(activities: Iterable[AnyActivity], converter: object) -> tuple[AnyActivity, ...]:
    """The activities that run in worker processes, each as its module has it.

    Args:
      activities: all of a hub.
      converter: the hub's, as it was given.

    Raises:
      DefinitionError: a fresh process would not find one of them, or could not have the converter.
    """
    found = tuple(_found_again(activity) for activity in activities if activity.process)
    if found and converter is not None and not callable(converter):
        raise DefinitionError(
            f"activity {found[0].name!r} runs in a process, which cannot have the hub's converter: hand over the function that makes "
            "it instead, converter=make_my_converter, so that each process makes its own"
        )
    if found and converter is not None and _member(_module_of(converter), converter) is not converter:
        raise DefinitionError(_NOT_FOUND.format(f"{converter!r}, which makes the converter of process activities,"))
    return found


def refuse_in_starting_worker() -> None:
    """Refuse to open a hub while a worker process imports the program.

    Raises:
      RuntimeError: this is a worker process, and it does.
    """
    multiprocessing = sys.modules.get("multiprocessing")  # a worker process has imported it
    if multiprocessing is not None and multiprocessing.current_process().name == STARTING:
        raise RuntimeError(
            "a worker process imports this program to find its activities, and must not run it: put what starts the hub under "
            "\"if __name__ == '__main__':\""
        )


_NOT_FOUND: Final = (
    "{} cannot be found by a fresh process, which imports its module and looks it up by name: define it at the top of a module, "
    "with def, and leave it under the name it has there"
)


def _found_again(activity: AnyActivity) -> AnyActivity:
    function = activity.function
    module = _module_of(function)
    if module is not None and module is sys.modules["__main__"] and not _main_is_imported(module):
        raise DefinitionError(
            f"activity {activity.name!r} runs in a process and is defined in the program's main module, which a fresh process cannot "
            "import (it is interactive, or was started with -c or as a package): define it in a module that can be imported"
        )
    member: AnyActivity | None = _member(module, function)
    if not isinstance(member, Activity) or member.function is not function:
        raise DefinitionError(
            _NOT_FOUND.format(
                f"activity {activity.name!r} ({function.__module__}.{function.__qualname__}) runs in a process, and"
            )
        )
    return member


def _module_of(function: Any) -> ModuleType | None:
    return sys.modules.get(getattr(function, "__module__", None) or "")


def _member(module: ModuleType | None, function: Any) -> Any:
    """What a module has under a function's own name."""
    found: Any = module
    for name in getattr(function, "__qualname__", "<none>").split("."):
        found = getattr(found, name, None)
    return found


def _main_is_imported(main: ModuleType) -> bool:
    """Whether ``multiprocessing`` has a spawned process import the main module: a script, or a module started with ``-m``."""
    spec = getattr(main, "__spec__", None)
    if spec is not None:
        return spec.name.rpartition(".")[2] != "__main__"
    path = getattr(main, "__file__", None)
    return path is not None and Path(path).is_file()
