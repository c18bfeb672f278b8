"""Numbers or percentages: the IntOrString fields of Deployments, StatefulSets and budgets (`3`, `"25%"`).

    portion("25%", 10, round_up=True) ─▶ 3        portion("25%", 10, round_up=False) ─▶ 2        portion(4, 10, …) ─▶ 4

Which way a percentage rounds is the field's rule: surges and budgets round up, unavailability in a rollout down
(intstr.GetScaledValueFromIntOrPercent).
"""

from __future__ import annotations

import re

from petset.cluster.api.fields import FieldError, wrong

_PERCENT = re.compile(r"\d+%")
_PERCENT_TEXT = "a valid percent string must be a numeric string followed by an ending '%' (e.g. '1%',  or '93%')"


def portion(value: int | str, total: int, *, round_up: bool) -> int:
    """How many of `total` are meant. Raises ValueError for a text that is no percentage."""
    if isinstance(value, int):
        return value
    if not _PERCENT.fullmatch(value):
        raise ValueError(f'invalid value for IntOrString: invalid type: string is not a percentage ("{value}")')
    hundredths = total * int(value[:-1])
    return -(-hundredths // 100) if round_up else hundredths // 100


def is_zero(value: int | str) -> bool:
    """`0` or `0%`."""
    return value == 0 or (isinstance(value, str) and value.rstrip("%").strip("0") == "")


def validate_portion(path: str, value: int | str | None, *, at_most_all: bool = False) -> list[FieldError]:
    """ValidatePositiveIntOrPercent and, with `at_most_all`, IsNotMoreThan100Percent."""
    if value is None:
        return []
    if isinstance(value, int):
        return [] if value >= 0 else [wrong(path, value, "must be greater than or equal to 0")]
    if not _PERCENT.fullmatch(value):
        return [wrong(path, value, _PERCENT_TEXT)]
    if at_most_all and int(value[:-1]) > 100:
        return [wrong(path, value, "must not be greater than 100%")]
    return []
