"""Nothing is left on the machines that belongs to no pod: no process, no namespace, no directory.

Judged twice, after convergence and after the workload's removal, from what the machines themselves find.
"""

from __future__ import annotations

from petset.cluster.chaos.observations import Observations
from petset.cluster.chaos.oracles.verdict import Verdict, Violation


def judge(seen: Observations) -> Verdict:
    """What the machines found after convergence and after the removal."""
    violations = []
    if seen.leftovers:
        some = "; ".join(seen.leftovers[:5])
        violations.append(
            Violation(
                f"{len(seen.leftovers)} left over: {some}", seen.healed_at, evidence={"leftovers": seen.leftovers}
            )
        )
    promise = "no process, namespace or directory is left that belongs to no pod"
    return Verdict("leftovers", promise, judged=seen.sweeps, violations=tuple(violations))
