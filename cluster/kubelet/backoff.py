"""Crash and pull backoff: how long a container waits after a failure (pure; client-go util/flowcontrol Backoff).

    failure   1st   2nd   3rd   4th   5th   6th   7th …
    wait       0    10    20    40    80   160   300  300     seconds, counted from the container's end

A first crash restarts at once and only then starts the count. The count begins anew when a container ended more
than ten minutes after the last step. It lives in the kubelet's memory: a restarted kubelet counts from the
beginning, as in Kubernetes.
"""

from __future__ import annotations

from dataclasses import dataclass

INITIAL_SECONDS = 10.0
MAX_SECONDS = 300.0
FORGET_SECONDS = 2 * MAX_SECONDS


@dataclass(frozen=True)
class Backoff:
    """The wait that the next failure costs, and when (epoch seconds) it was last stepped.

    `seconds` are Kubernetes' own, and shown; a cluster with a `time_scale` waits so much shorter.
    """

    seconds: float
    stepped_at: float
    time_scale: float = 1.0

    @property
    def wait_seconds(self) -> float:
        return self.seconds / self.time_scale


def waits_until(backoff: Backoff | None, failed_at: float) -> float:
    """Until when a container that failed at `failed_at` waits; `failed_at` itself when it need not wait."""
    if backoff is None or _forgotten(backoff, failed_at):
        return failed_at
    return failed_at + backoff.wait_seconds


def stepped(backoff: Backoff | None, *, failed_at: float, now: float, time_scale: float = 1.0) -> Backoff:
    """The backoff after one more try, made now, because of the failure at `failed_at`."""
    if backoff is None or _forgotten(backoff, failed_at):
        return Backoff(INITIAL_SECONDS, now, time_scale)
    return Backoff(min(backoff.seconds * 2, MAX_SECONDS), now, time_scale)


def go_duration(seconds: float) -> str:
    """A duration as Go prints it, to the millisecond: `10s`, `1m20s`, `5m0s`, `12ms`."""
    milliseconds = round(seconds * 1000)
    if milliseconds < 1000:
        return f"{milliseconds}ms" if milliseconds else "0s"
    minutes, rest = divmod(milliseconds, 60_000)
    text = f"{rest / 1000:g}s"
    if not minutes:
        return text
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h{minutes}m{text}" if hours else f"{minutes}m{text}"


def _forgotten(backoff: Backoff, failed_at: float) -> bool:
    return failed_at - backoff.stepped_at > FORGET_SECONDS / backoff.time_scale
