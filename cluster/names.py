"""Identity as an argument: uids, generated names and tokens come from an injected source of randomness."""

from __future__ import annotations

import random
from uuid import UUID

SAFE_LETTERS = "bcdfghjklmnpqrstvwxz2456789"
"""Kubernetes' alphabet for generated names: no vowels, so that no words appear (util/rand)."""


class Names:
    """Hands out uids and name suffixes; the same seed gives the same sequence."""

    def __init__(self, source: random.Random) -> None:
        self._source = source

    def uid(self) -> str:
        """A random (version 4) UUID."""
        return str(UUID(int=self._source.getrandbits(128), version=4))

    def suffix(self, length: int = 5) -> str:
        """What `generateName` appends."""
        return "".join(self._source.choice(SAFE_LETTERS) for _ in range(length))


def system_names() -> Names:
    """Names from the operating system's randomness: unguessable, for real clusters."""
    return Names(random.SystemRandom())


def seeded_names(seed: int) -> Names:
    """Names that repeat, for tests and replays."""
    return Names(random.Random(seed))
