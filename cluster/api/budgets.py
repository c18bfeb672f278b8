"""PodDisruptionBudgets as both sides see them: the controller that counts, and the eviction that spends.

    controller ──status.disruptionsAllowed──▶ eviction takes one, notes the pod in status.disruptedPods, deletes it
         ▲                                                       │
         └────────── counts the pod as gone, drops the note ◀────┘

Both write the status guarded by its resourceVersion, so no disruption is spent twice. Rules: pdb_helpers.go.
"""

from __future__ import annotations

from collections.abc import Iterable

from petset.cluster.api.objects import Object, condition, labels_of
from petset.cluster.api.selectors import forgiving_selector_of
from petset.cluster.api.times import format_time

DISRUPTION_ALLOWED = "DisruptionAllowed"
SUFFICIENT, INSUFFICIENT, SYNC_FAILED = "SufficientPods", "InsufficientPods", "SyncFailed"

DELETION_TIMEOUT_SECONDS = 120.0
"""A pod noted as disrupted that is still there after this time is taken back into the count."""


def budgets_of(pod: Object, budgets: Iterable[Object]) -> list[Object]:
    """The budgets of the pod's namespace that select it: an absent selector selects nothing, an empty one all."""
    labels = labels_of(pod)
    return [each for each in budgets if forgiving_selector_of(each["spec"].get("selector")).matches(labels)]


def with_condition(budget: Object, status: Object, *, reason: str = "", message: str = "", now: float) -> Object:
    """`status` with the condition DisruptionAllowed of its figures, or of a `reason`; the time moves with the value."""
    allowed = int(status.get("disruptionsAllowed") or 0) > 0 and not reason
    value = "True" if allowed else "False"
    old = condition(budget, DISRUPTION_ALLOWED)
    since = format_time(now) if old is None or old.get("status") != value else old.get("lastTransitionTime")
    new = {
        "type": DISRUPTION_ALLOWED,
        "status": value,
        "observedGeneration": status.get("observedGeneration", 0),
        "lastTransitionTime": since,
        "reason": reason or (SUFFICIENT if allowed else INSUFFICIENT),
        "message": message,
    }
    others = [each for each in (budget.get("status") or {}).get("conditions") or () if each["type"] != new["type"]]
    return {**status, "conditions": [*others, new]}
