"""Whole hubs, simulated: random programs, crashes and faults, decided by one seed, and checked after every commit."""

from __future__ import annotations

from .simulation import Outcome, simulate

__all__ = ["Outcome", "simulate"]
