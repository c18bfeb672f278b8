"""The cluster is whole again within a bound after the last heal.

Whole means what settled.py says of nodes, sets and services, and DNS that agrees. The bound is the experiment's
(`converge_seconds`).
"""

from __future__ import annotations

from petset.cluster.api.objects import name_of
from petset.cluster.chaos.observations import Observations
from petset.cluster.chaos.oracles.verdict import Verdict, Violation


def judge(seen: Observations) -> Verdict:
    """The one moment after the last heal."""
    promise = f"whole again within {seen.converge_seconds:g} s after the last heal"
    if seen.converged_at is not None and seen.converged_at - seen.healed_at <= seen.converge_seconds:
        seconds = seen.converged_at - seen.healed_at
        return Verdict("convergence", promise, judged=1, notes=(f"it took {seconds:.1f} s",))
    missing = "; ".join(seen.unsettled) or "it took longer"
    names = [name_of(pod) for pod in seen.final_of("Pod")]
    violation = Violation(
        f"not whole {seen.converge_seconds:g} s after the last heal: {missing}",
        at=seen.healed_at + seen.converge_seconds,
        evidence={
            "objects": seen.final_of("StatefulSet") + seen.final_of("Pod"),
            "events": {name: seen.events_about(name) for name in names},
        },
    )
    return Verdict("convergence", promise, judged=1, violations=(violation,))
