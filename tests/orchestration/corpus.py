"""The corpus: orchestrations of many shapes, for laws that hold for any of them.

It needs nothing of pytest, so that a child process can import it.
"""

from __future__ import annotations

from . import corpus_alone, corpus_others
from .shapes import CORPUS, Happening, Shape

__all__ = ["DEFINITIONS", "PARTS", "SHAPES", "Happening", "Shape"]

PARTS = (corpus_alone, corpus_others)
SHAPES = CORPUS.shapes
DEFINITIONS = CORPUS.definitions

assert len(SHAPES) >= 25
