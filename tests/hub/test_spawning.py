"""What a fresh process finds of a program (O5): the rest is refused when it is defined to a hub; programs that use worker processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from perdure.entities import DefinitionError
from perdure.hub import TaskHub
from perdure.orchestration import activity
from perdure.storage.memory_store import MemoryStore

from . import in_processes

# --- refused


@pytest.mark.parametrize("name", ["inner", "other_name", "wrapped", "anonymous", "gone"])
def test_O5_what_has_no_name_in_its_module_is_refused(name: str) -> None:
    """A nested function, one whose activity has another name, one that a decorator made, a lambda, and one of a module that is gone."""
    subject = in_processes.nested() if name == "inner" else getattr(in_processes, name)
    with pytest.raises(DefinitionError, match=r"cannot be found by a fresh process.*define it at the top of a module"):
        TaskHub("Refusing", [subject], MemoryStore())


def test_O5_an_activity_with_options_is_found() -> None:
    """What ``options`` made of an activity stands for the same function."""
    TaskHub("Accepting", [in_processes.own_pid.options(timeout=5)], MemoryStore())


def test_O5_a_converter_is_handed_over_as_the_function_that_makes_it() -> None:
    """With activities in processes a converter object is refused, and so is a function that a fresh process would not find."""
    definitions = [in_processes.own_pid]
    with pytest.raises(DefinitionError, match="hand over the function that makes it"):
        TaskHub("Refusing", definitions, MemoryStore(), converter=in_processes.make_tagging_converter())
    with pytest.raises(DefinitionError, match=r"makes the converter.*cannot be found by a fresh process"):
        TaskHub("Refusing", definitions, MemoryStore(), converter=lambda: in_processes.make_tagging_converter())
    TaskHub("Accepting", [], MemoryStore(), converter=lambda: in_processes.make_tagging_converter())


def test_O5_an_async_function_is_not_for_a_process() -> None:
    """That is said when it is decorated; and ``process`` is True or False."""

    async def waits() -> None:
        """Waits."""

    with pytest.raises(DefinitionError, match="'waits' is 'async def'"):
        activity(process=True)(waits)
    chosen: Any = "yes"
    with pytest.raises(TypeError, match="process is True or False, not 'yes'"):
        activity(process=chosen)(in_processes.own_pid.function)


@pytest.mark.parametrize("option", ["processes_max", "process_calls_max"])
def test_the_numbers_are_checked(option: str) -> None:
    """At least one process, and one attempt in each."""
    settings: dict[str, Any] = {option: 0}
    with pytest.raises(ValueError, match=f"{option} is a number above 0, not 0"):
        TaskHub("Refusing", [], MemoryStore(), **settings)


# --- programs

PROGRAM = """
import os
import trio
from perdure.hub import TaskHub
from perdure.orchestration import ActivityFailed, OrchestrationContext, activity, orchestrator

class Kinds:
    class Odd(ValueError):
        pass

@activity(process=True)
def halved(number: int) -> int:
    if number % 2:
        raise Kinds.Odd(f"{number} is odd")
    print("computing in", "the same process" if os.getpid() == PARENT else "another process")
    return number // 2

@activity(process=True)
def computing() -> None:
    print(os.getpid(), flush=True)
    while True:
        pass

@activity(process=True)
def crashing() -> None:
    os._exit(1)

@orchestrator
async def work(ctx: OrchestrationContext) -> int:
    try:
        await ctx.call_activity(halved, 3)
    except ActivityFailed as error:
        print(error.failure, error.failure.is_caused_by(Kinds.Odd))
    half = await ctx.call_activity(halved, 4)
    try:
        await ctx.call_activity(crashing)
    except ActivityFailed:
        return half

@orchestrator
async def endless(ctx: OrchestrationContext) -> None:
    await ctx.call_activity(computing)

PARENT = int(os.environ.get("PARENT", "0"))

async def main(function):
    os.environ["PARENT"] = str(os.getpid())
    async with TaskHub("Program", [work, endless, halved, crashing, computing], "data", processes_max=1) as hub:
        print(await (await hub.start(function)).result())
"""

GUARDED = """
if __name__ == "__main__":
    trio.run(main, {function})
"""


def ran(folder: Path, program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """A program that has run in a folder."""
    (folder / "program.py").write_text(program)
    command = [sys.executable, *(arguments or ("program.py",))]
    usual = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    return subprocess.run(command, cwd=folder, env=usual, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize("arguments", [("program.py",), ("-m", "program")], ids=["script", "module"])
def test_O5_a_program_in_one_file(arguments: tuple[str, ...], tmp_path: Path) -> None:
    """Activities of the main module run in processes; their failures have its types, and what they print is seen, even if the process dies later."""
    done = ran(tmp_path, PROGRAM + GUARDED.format(function="work"), *arguments)
    assert (done.returncode, done.stderr) == (0, "")
    assert sorted(done.stdout.splitlines()) == ["2", "__main__.Kinds.Odd: 3 is odd True", "computing in another process"]


def test_O5_a_program_without_a_guard_is_told_so(tmp_path: Path) -> None:
    """The worker process, which imports the program, does not run it; the attempt fails and says what to write."""
    done = ran(tmp_path, PROGRAM + "trio.run(main, work)\n")
    assert done.returncode == 1
    assert "RuntimeError: a worker process imports this program" in done.stderr
    assert "ended with exit code 1 before it was ready" in done.stderr
    assert "computing" not in done.stdout


def test_O5_a_program_that_cannot_be_imported_is_refused(tmp_path: Path) -> None:
    """With ``python -c`` there is no module to find the activity in; that is said when it is defined."""
    done = ran(tmp_path, "", "-c", PROGRAM + "trio.run(main, work)\n")
    assert done.returncode == 1
    assert "activity 'halved' runs in a process and is defined in the program's main module" in done.stderr


def test_O5_no_process_survives_a_hub_that_was_killed(tmp_path: Path) -> None:
    """After SIGKILL of the program, a worker process ends though its activity computes for ever: nobody has the pipe any more."""
    (tmp_path / "program.py").write_text(PROGRAM + GUARDED.format(function="endless"))
    with subprocess.Popen([sys.executable, "program.py"], cwd=tmp_path, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        worker = int(process.stdout.readline())
        process.send_signal(signal.SIGKILL)
        assert process.wait(60) == -signal.SIGKILL
        assert worker != process.pid
        assert process.stdout.read() == ""  # returns when the last process that has the other end is gone


def test_multiprocessing_is_for_those_who_use_it() -> None:
    """A hub without activities in processes does not import it."""
    program = (
        "import sys, trio\n"
        "from perdure.hub import TaskHub\n"
        "from perdure.storage.memory_store import MemoryStore\n"
        "async def main():\n"
        "    async with TaskHub('Plain', [], MemoryStore()):\n"
        "        pass\n"
        "trio.run(main)\n"
        "print('multiprocessing' in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "False\n"
