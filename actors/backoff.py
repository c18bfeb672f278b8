"""How soon a dead actor is made again: at once, unless it keeps dying (as Kubernetes backs off crash loops).

A death after a life of `calm_seconds` or more is taken as an accident and answered at once. Each death sooner than
that doubles the pause: 0, 0.5, 1, 2, 4, … up to `longest_seconds`.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class Backoff:
    """The pauses of one actor name."""

    calm_seconds: float = 10.0
    first_pause_seconds: float = 0.5
    longest_seconds: float = 10.0
    _quick_deaths: int = 0

    def after_death(self, lived_seconds: float) -> float:
        """Seconds to wait before the next life."""
        if lived_seconds >= self.calm_seconds:
            self._quick_deaths = 0
            return 0.0
        self._quick_deaths += 1
        if self._quick_deaths == 1:
            return 0.0
        doublings = min(self._quick_deaths - 2, 16)
        return min(self.first_pause_seconds * 2.0**doublings, self.longest_seconds)
