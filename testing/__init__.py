"""A kit for testing: programs whose course one seed decides, a disk that fails when it is told to, and a reader of stores.

:mod:`perdure.testing.simulate` uses all of it: ``python -m perdure.testing.simulate --help``.
"""

from __future__ import annotations

from . import simulate
from .determinism import run as run_determined
from .invariants import faults as faults_of
from .scripted_store import Harm, ProcessDied, ScriptedStore
from .stored import Stored

__all__ = ["Harm", "ProcessDied", "ScriptedStore", "Stored", "faults_of", "run_determined", "simulate"]
