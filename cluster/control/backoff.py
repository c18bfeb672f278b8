"""Pauses between tries that keep failing: doubling, with jitter, up to a ceiling (client-go's BackoffManager).

    try     1st   2nd   3rd   4th   5th …
    pause   0.8   1.6   3.2   5.0   5.0      seconds, each longer by up to as much again

The jitter keeps those who lost the same server from coming back at the same instant. Deciding only: the caller waits.
"""

from __future__ import annotations

from random import Random

FIRST_SECONDS = 0.8
MAX_SECONDS = 5.0
"""Before jitter, so a pause is at most twice as long. A reflector's are 800 ms and 30 s (client-go
tools/cache/reflector.go): here servers are cut off on purpose, and whoever heals them wants to see it."""


class Backoff:
    """The pauses of one who tries; `chance` is the jitter's."""

    def __init__(self, chance: Random) -> None:
        self._chance = chance
        self._seconds = FIRST_SECONDS

    def next_seconds(self) -> float:
        """How long to wait now; the next time twice as long."""
        seconds, self._seconds = self._seconds, min(self._seconds * 2, MAX_SECONDS)
        return seconds * (1 + self._chance.random())

    def reset(self) -> None:
        """It works again: the next pause is a first one."""
        self._seconds = FIRST_SECONDS
