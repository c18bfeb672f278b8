"""`resource.Quantity`: amounts of CPU, memory and storage as exact numbers.

    "1500m" ─parse_quantity─▶ Fraction(3, 2) ─format_quantity─▶ "1500m"
    "1Gi"   ─parse_quantity─▶ Fraction(1073741824) ─format_quantity(…, binary=True)─▶ "1Gi"

Kubernetes keeps a quantity's notation (decimal or binary) beside its number; here the caller says which one it
wants. As there, nothing finer than a nano exists: finer texts round up. Left out: the exponent notation on output.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from fractions import Fraction
from functools import lru_cache

_FORM = re.compile(r"(?P<number>[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+))(?P<suffix>[A-Za-z]*|[eE][+-]?[0-9]+)")
_DECIMAL = {"n": -9, "u": -6, "m": -3, "": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
_BINARY = {"Ki": 1, "Mi": 2, "Gi": 3, "Ti": 4, "Pi": 5, "Ei": 6}
_NANO = 10**9
_MAX_EXPONENT = 30
"""Larger exponents are refused: no machine has so much, and the number would fill the memory."""

RULE = "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"


def parse_quantity(text: str | int | float) -> Fraction:
    """The number a quantity stands for. JSON numbers count too. Raises ValueError with Kubernetes' text."""
    return _parsed(str(text))


@lru_cache(maxsize=1024)
def _parsed(text: str) -> Fraction:
    """Remembered: a scheduler asks for the same few texts again and again."""
    found = _FORM.fullmatch(text)
    if found is None:
        raise ValueError(RULE)
    suffix = found["suffix"]
    scale: Fraction | int
    if suffix in _DECIMAL:
        scale = Fraction(10) ** _DECIMAL[suffix]
    elif suffix in _BINARY:
        scale = 1024 ** _BINARY[suffix]
    elif suffix[1:].lstrip("+-").isdigit() and abs(int(suffix[1:])) <= _MAX_EXPONENT:
        scale = Fraction(10) ** int(suffix[1:])
    else:
        raise ValueError("unable to parse quantity's suffix")
    exact = Fraction(found["number"].rstrip(".")) * scale
    return Fraction(_away_from_zero(exact * _NANO), _NANO)


def is_binary(text: str | int | float) -> bool:
    """Whether a quantity is written in powers of 1024 (`Ki`, `Mi`, …)."""
    return str(text).endswith("i")


def format_quantity(value: Fraction | int, *, binary: bool = False) -> str:
    """The canonical text: the largest suffix that leaves no fraction. Finer than a nano rounds away from zero.

    In binary notation amounts below 1024 and fractions fall back to decimal, as in Kubernetes.
    """
    exact = Fraction(value)
    if binary and abs(exact) >= 1024 and exact.denominator == 1:
        number, power = exact.numerator, 0
        while number % 1024 == 0 and power < 6:
            number, power = number // 1024, power + 1
        return f"{number}{['', *_BINARY][power]}"
    if value == 0:
        return "0"
    nanos = _away_from_zero(exact * _NANO)
    suffix, exponent = next(
        (suffix, exponent) for suffix, exponent in reversed(_DECIMAL.items()) if nanos % 10 ** (exponent + 9) == 0
    )
    return f"{nanos // 10 ** (exponent + 9)}{suffix}"


def canonical(text: str | int | float) -> str:
    """A quantity's text as the API server stores it: `1024Mi` is `1Gi`, `0.5` is `500m`. Raises ValueError."""
    return format_quantity(parse_quantity(text), binary=is_binary(text))


def whole(text: str | int | float) -> int:
    """A quantity rounded up to the next integer (Quantity.Value), e.g. bytes. Raises ValueError."""
    return math.ceil(parse_quantity(text))


def amount(quantities: Mapping[str, str | int | float] | None, resource: str) -> Fraction:
    """One entry of a resource list, e.g. `requests.cpu`; 0 when it is absent. Raises ValueError."""
    return parse_quantity((quantities or {}).get(resource, 0))


def _away_from_zero(value: Fraction) -> int:
    return math.ceil(value) if value >= 0 else math.floor(value)
