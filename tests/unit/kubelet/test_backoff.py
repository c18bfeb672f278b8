from __future__ import annotations

import pytest

from petset.cluster.kubelet.backoff import Backoff, go_duration, stepped, waits_until


def test_the_first_failure_waits_for_nothing() -> None:
    assert waits_until(None, 100.0) == 100.0


def test_waits_double_from_ten_seconds_to_five_minutes() -> None:
    backoff, now, waits = None, 0.0, []
    for _ in range(8):
        backoff = stepped(backoff, failed_at=now, now=now)
        waits.append(waits_until(backoff, now) - now)
        now += waits[-1]
    assert waits == [10, 20, 40, 80, 160, 300, 300, 300]


def test_a_time_scale_shortens_the_wait_and_not_what_is_said() -> None:
    backoff = stepped(stepped(None, failed_at=0.0, now=0.0, time_scale=60.0), failed_at=1.0, now=1.0, time_scale=60.0)
    assert backoff.seconds == 20
    assert waits_until(backoff, 2.0) == pytest.approx(2.0 + 20 / 60)
    assert waits_until(backoff, 1.0 + 600 / 60 + 0.1) == 1.0 + 600 / 60 + 0.1


@pytest.mark.parametrize(
    ("failed_at", "until", "seconds"),
    [
        pytest.param(600.0, 680.0, 160.0, id="ten minutes after the last step still count"),
        pytest.param(600.1, 600.1, 10.0, id="later than that it begins anew"),
    ],
)
def test_a_long_run_forgets_the_backoff(failed_at: float, until: float, seconds: float) -> None:
    backoff = Backoff(80.0, stepped_at=0.0)
    assert waits_until(backoff, failed_at) == until
    assert stepped(backoff, failed_at=failed_at, now=until).seconds == seconds


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0s"), (0.0004, "0s"), (0.012, "12ms"), (1.5, "1.5s"), (10, "10s"), (80, "1m20s"), (300, "5m0s"),
     (3725, "1h2m5s")],
)  # fmt: skip
def test_durations_read_as_in_go(seconds: float, text: str) -> None:
    assert go_duration(seconds) == text
