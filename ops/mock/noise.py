"""Deterministic noise: one number in, one well-mixed 64-bit number out, the same in polars and in Python.

Belongs here: the mixing function (splitmix64) alone. What the noise is used for stands in the generators.
polars' own `hash` is not used: it may change between releases, and a generated page must not.
"""

from __future__ import annotations

import polars as pl

_MASK = 2**64 - 1
_STEP = 0x9E3779B97F4A7C15
_FIRST = 0xBF58476D1CE4E5B9
_SECOND = 0x94D049BB133111EB


def _u64(value: int) -> pl.Expr:
    return pl.lit(value & _MASK, pl.UInt64)


def number(*parts: int) -> int:
    """Mix some integers (negative ones too) into one number in 0..2**64-1."""
    state = 0
    for part in parts:
        state = _mix((state ^ (part & _MASK)) + _STEP)
    return state


def _mix(value: int) -> int:
    value &= _MASK
    value = ((value ^ (value >> 30)) * _FIRST) & _MASK
    value = ((value ^ (value >> 27)) * _SECOND) & _MASK
    return value ^ (value >> 31)


def column(index: pl.Expr, *salt: int) -> pl.Expr:
    """The UInt64 noise of each value of `index` (UInt64); equals `_mix(index + number(*salt))` row by row."""
    value = index + _u64(number(*salt))
    value = (value ^ (value // 2**30)) * _u64(_FIRST)
    value = (value ^ (value // 2**27)) * _u64(_SECOND)
    return value ^ (value // 2**31)
