"""The numbered rules: each has tests named after it, and each public verb names the rule that it keeps."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from perdure.hub import Instance, TaskHub
from perdure.orchestration import OrchestrationContext

ROOT = Path(__file__).parent.parent
SEMANTICS = (ROOT / "docs" / "semantics.md").read_text(encoding="utf-8")
RULES = re.findall(r"^- \*\*([A-Z]\d+)\b", SEMANTICS, re.MULTILINE)
RULE = re.compile(r"\b[A-Z]\d+\b")
REFERENCE = re.compile(r":meth:`(?:TaskHub\.|Instance\.)?(\w+)`")
FACES = (OrchestrationContext, TaskHub, Instance)


def names_of_tests() -> Iterator[str]:
    """The names of all test functions."""
    for path in (ROOT / "tests").rglob("test_*.py"):
        yield from re.findall(r"^ *(?:async )?def (test_\w+)", path.read_text(encoding="utf-8"), re.MULTILINE)


def test_each_rule_has_tests_named_after_it() -> None:
    """Every rule of the page has a test whose name begins with its number."""
    named = {name.split("_")[1] for name in names_of_tests()}
    assert len(RULES) >= 50
    assert [rule for rule in RULES if rule not in named] == []


def verbs(face: type[Any]) -> dict[str, str]:
    """The public verbs of a class with their docstrings: what is waited for on a hub, everything on a context."""
    found: dict[str, str] = {}
    for name, member in inspect.getmembers_static(face):
        function = member.fget if isinstance(member, property) else member
        if name.startswith("_") or not inspect.isfunction(function):
            continue
        waited = inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function)
        if waited or face is OrchestrationContext:
            found[name] = inspect.getdoc(function) or ""
    return found


DOCS = {face: verbs(face) for face in FACES}


def names_a_rule(face: type[Any], verb: str) -> bool:
    """Whether a verb's docstring names a rule, or the verb that says more about it."""
    text = DOCS[face][verb]
    if RULE.search(text):
        return True
    said = {**DOCS[Instance], **DOCS[TaskHub]}
    return any(RULE.search(said.get(other, "")) for other in REFERENCE.findall(text))


@pytest.mark.parametrize("face", FACES, ids=lambda face: face.__name__)
def test_each_public_verb_names_its_rule(face: type[Any]) -> None:
    """The docstring names a rule that exists, or refers to the verb that does."""
    assert len(DOCS[face]) >= 15
    assert [verb for verb in DOCS[face] if not names_a_rule(face, verb)] == []
    unknown = {rule for text in DOCS[face].values() for rule in RULE.findall(text)} - set(RULES)
    assert unknown == set()
