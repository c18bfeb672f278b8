"""Kubernetes' textual times to and from seconds since the epoch (pure; reading the clock is clock.py's)."""

from __future__ import annotations

from datetime import UTC, datetime


def format_time(seconds: float) -> str:
    """`metav1.Time`: RFC 3339 in UTC, cut to whole seconds, e.g. `2026-01-01T00:00:00Z`."""
    return datetime.fromtimestamp(int(seconds), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def format_micro_time(seconds: float) -> str:
    """`metav1.MicroTime`, as leases and events carry it, e.g. `2026-01-01T00:00:00.250000Z`."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def parse_time(text: str) -> float:
    """Seconds since the epoch of any RFC 3339 form that clients send (`Z`, offsets, fractions).

    Raises ValueError when the text is no time.
    """
    moment = datetime.fromisoformat(text)
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
