"""Starting a Ray that takes longer than it allows itself."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from petset.actors.private_ray import start_patiently

TOO_SLOW = Exception("The current node timed out during startup. This could happen because …")


def failing(*errors: Exception) -> tuple[list[str], Callable[[], None], Callable[[], None]]:
    """What happens, a start that fails with one error after the other, and what gives it up."""
    happened: list[str] = []
    to_come = [*errors]

    def start() -> None:
        happened.append("start")
        if to_come:
            raise to_come.pop(0)

    return happened, start, lambda: happened.append("give up")


def test_a_ray_that_was_too_slow_is_ended_and_started_once_more() -> None:
    happened, start, give_up = failing(TOO_SLOW)
    start_patiently(start, give_up)
    assert happened == ["start", "give up", "start"]


@pytest.mark.parametrize(
    ("errors", "expected"),
    [
        pytest.param([TOO_SLOW, TOO_SLOW], ["start", "give up", "start"], id="too slow again"),
        pytest.param([ValueError("no such option")], ["start"], id="another error"),
    ],
)
def test_what_else_goes_wrong_is_raised(errors: list[Exception], expected: list[str]) -> None:
    happened, start, give_up = failing(*errors)
    with pytest.raises(type(errors[-1])):
        start_patiently(start, give_up)
    assert happened == expected
