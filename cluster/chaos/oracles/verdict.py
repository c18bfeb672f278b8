"""What an oracle says: how much it looked at, what was violated, and what proves it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from petset.cluster.chaos.observations import Observations


@dataclass(frozen=True)
class Violation:
    """One broken promise. `at` is when it began (epoch seconds), `duration_seconds` how long it lasted, if it could.

    `waived` says why it does not count: the user asked for it. `evidence` is JSON: objects, events, processes.
    """

    what: str
    at: float
    duration_seconds: float | None = None
    waived: str = ""
    evidence: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Verdict:
    """`judged` counts what was looked at: an oracle that saw nothing has proved nothing. `notes` says what it left."""

    oracle: str
    promise: str
    judged: int
    violations: tuple[Violation, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def broken(self) -> tuple[Violation, ...]:
        """The violations that count."""
        return tuple(each for each in self.violations if not each.waived)

    @property
    def waived(self) -> tuple[Violation, ...]:
        return tuple(each for each in self.violations if each.waived)

    @property
    def held(self) -> bool:
        return not self.broken

    @property
    def word(self) -> str:
        """How it is told: held, broken N times, or that there was nothing to judge, which proves nothing."""
        if self.broken:
            return f"broken {len(self.broken)}×"
        return "held" if self.judged else "nothing to judge"


Oracle = Callable[[Observations], Verdict]
