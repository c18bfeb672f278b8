"""The oracles: what a cluster must hold whatever befalls it, judged from what was seen. Always on, all of them.

    Observations ──▶ identity · claims · durability · ordering · services · convergence · leftovers ──▶ Verdicts

Each is a pure function of a run's observations, in a file of its own that says what it promises and why it accuses
nobody wrongly.
"""

from __future__ import annotations

from petset.cluster.chaos.observations import Observations
from petset.cluster.chaos.oracles import claims, convergence, durability, identity, leftovers, ordering, services
from petset.cluster.chaos.oracles.verdict import Oracle, Verdict, Violation

ORACLES: tuple[Oracle, ...] = tuple(
    each.judge for each in (identity, claims, durability, ordering, services, convergence, leftovers)
)

__all__ = ["ORACLES", "Verdict", "Violation", "judge_all"]


def judge_all(seen: Observations) -> tuple[Verdict, ...]:
    """Every oracle's verdict, in a fixed order."""
    return tuple(oracle(seen) for oracle in ORACLES)
