from __future__ import annotations

import pytest

from petset.actors.backoff import Backoff


@pytest.mark.parametrize(
    ("lives", "pauses"),
    [
        pytest.param([60, 3600, 60], [0, 0, 0], id="accidents-are-answered-at-once"),
        pytest.param([1, 1, 1, 1, 1, 1, 1, 1], [0, 0.5, 1, 2, 4, 8, 10, 10], id="a-crash-loop-slows-down-to-a-bound"),
        pytest.param([1, 1, 1, 60, 1, 1], [0, 0.5, 1, 0, 0, 0.5], id="a-calm-life-forgives"),
        pytest.param([0.1] * 2000, [0, 0.5, 1, 2, 4, 8] + [10] * 1994, id="however-long-it-lasts"),
    ],
)
def test_pause_before_the_next_life(lives: list[float], pauses: list[float]) -> None:
    backoff = Backoff()
    assert [backoff.after_death(lived) for lived in lives] == pauses
