"""Nothing from storage is ever unpickled, imported or executed: what is stored is data, whoever wrote it."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
REFUSED_MODULES = {"pickle", "marshal", "shelve", "dill", "cloudpickle", "importlib", "runpy", "code", "pkgutil"}
REFUSED_CALLS = {"eval", "__import__"}

PROGRAM = """
import sys
from pathlib import Path

import trio
from attrs import define, field
from perdure.entities import Entity
from perdure.hub import TaskHub
from perdure.orchestration import OrchestrationContext, OrchestrationFailed, orchestrator
from perdure.storage.aes_gcm_codec import AesGcmCodec

CODEC = AesGcmCodec({"k": bytes(32)})

class Trap:
    '''Would do harm if it were unpickled.'''
    def __reduce__(self):
        return (print, ("unpickled",))

@define
class Shelf(Entity):
    content: dict[str, object] = field(factory=dict)

    def put(self, content: dict[str, object]) -> None:
        self.content = content

    def fail(self) -> None:
        raise Boom("letter")

class Boom(Exception):
    pass

Boom.__module__ = Boom.__qualname__ = "trap"  # a failure that names a module, as an attacker's would

@orchestrator
async def fails(ctx: OrchestrationContext, content: object) -> None:
    ctx.set_custom_status(content)
    await ctx.wait_for_external_event("go")
    raise Boom("as asked")

async def write(hub):
    import pickle
    content = {"name": "trap", "type": "trap:Boom", "pickled": pickle.dumps(Trap()), "py/object": "trap.Boom"}
    await hub.call_entity(Shelf.at("a"), Shelf.put, content, request_id="r")
    await hub.signal_entity(Shelf.at("a"), Shelf.fail)
    await hub.start(fails, content, instance_id="i")
    await hub.start(fails, content, instance_id="j")
    await hub.raise_event("i", "go", content)
    await hub.wait_idle()

async def read(hub):
    print((await hub.read_entity(Shelf.at("a"))).content["name"])
    await hub.query_entities()
    await hub.query_instances()
    await hub.get_history("i")
    await hub.dead_letters(Shelf.at("a"))
    await hub.describe("j")
    await hub.call_entity(Shelf.at("a"), Shelf.put, {}, request_id="r2")
    await hub.raise_event("j", "go", None)
    for instance_id in "ij":
        try:
            await hub.instance(instance_id).result()
        except OrchestrationFailed as error:
            print(error.failure.type_name)

def traps():
    return TaskHub("Traps", [Shelf, fails], sys.argv[1], codec=CODEC)

async def main(hub, do):
    async with hub:
        await do(hub)

seen = []

def watch(event, arguments):
    if event == "pickle.find_class" or event in ("import", "compile", "exec") and "trap" in str(arguments):
        seen.append((event, str(arguments)[:80]))

trio.run(main, traps(), write)
sys.addaudithook(watch)
trio.run(main, traps(), read)
print(*seen, "trap" in sys.modules)
"""


def test_reading_a_hub_runs_nothing_that_is_stored(tmp_path: Path) -> None:
    """A hub with pickles, class names and failures of a trap module in it is read whole, and nothing is unpickled, imported or run."""
    (tmp_path / "program.py").write_text(PROGRAM)
    (tmp_path / "trap.py").write_text('print("imported")\nclass Boom(Exception): pass\n')
    done = subprocess.run(
        [sys.executable, "program.py", str(tmp_path / "data")],
        cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["trap", "trap.trap", "trap.trap", "False"]


def test_the_packages_have_no_means_for_it() -> None:
    """No package imports a module that makes objects or code of bytes or names, nor runs text of any origin."""
    found: list[str] = []
    for package in ("storage", "entities", "orchestration", "hub"):
        for path in (ROOT / package).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                names: list[str] = []
                if isinstance(node, ast.Import):
                    names = [alias.name.partition(".")[0] for alias in node.names]
                elif isinstance(node, ast.ImportFrom) and node.level == 0:
                    names = [str(node.module).partition(".")[0]]
                elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in REFUSED_CALLS:
                    found.append(f"{path}:{node.lineno} calls {node.func.id}")
                found.extend(f"{path}:{node.lineno} imports {name}" for name in names if name in REFUSED_MODULES)
    assert found == []
