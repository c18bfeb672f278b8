"""Slots of 127/8 for tests, claimed machine-wide as clusters claim theirs: another run of the tests has others."""

from __future__ import annotations

import atexit
from contextlib import ExitStack

from petset.actors.claims import claim_slot

_held = ExitStack()
atexit.register(_held.close)


def own_slot(preferred: int) -> int:
    """A slot that is nobody else's while this process lives: the preferred one, or the first that is free."""
    return claim_slot(preferred, _held)
