"""PodDisruptionBudgets: how many of the selected pods may be disrupted now.

    expected  maxUnavailable, minAvailable in percent: the sum of the scales of the pods' controllers
              minAvailable as a number:                the pods that there are
    desired   expected - maxUnavailable, or minAvailable; percentages round up
    healthy   Ready pods, without those that are being deleted or that an eviction has just noted
    allowed   healthy - desired, nothing while nothing is expected

The eviction (apiserver/eviction.py) spends what is allowed. A budget that cannot be computed allows nothing: condition
reason SyncFailed. Scales are found for StatefulSets, Deployments, ReplicaSets and ReplicationControllers; other
controllers (any kind with a scale subresource, in Kubernetes) count as unknown. Events are recorded when the status
changes, not at every look. Left out: taking back stale DisruptionTarget conditions of pods. Rules: disruption.go.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from petset.cluster.api.budgets import DELETION_TIMEOUT_SECONDS, SYNC_FAILED, budgets_of, with_condition
from petset.cluster.api.objects import Object, condition_is_true, controller_of, is_terminating, name_of, namespace_of
from petset.cluster.api.portions import portion
from petset.cluster.api.selectors import forgiving_selector_of
from petset.cluster.api.times import parse_time
from petset.cluster.control.controller import Controller
from petset.cluster.control.snapshot import Key, Snapshot, key_of
from petset.cluster.control.writes import NOTHING, Outcome, Record, Update, Write
from petset.cluster.controllers.adoption import itself, owner_of

SCALED_KINDS = ("ReplicaSet", "ReplicationController", "StatefulSet")


class _Uncountable(Exception):
    """The expected number of pods cannot be found."""


def plan(key: Key, snapshot: Snapshot, now: float) -> Outcome:
    """The status of the budget of this (namespace, name); `now` in epoch seconds."""
    budget = snapshot.get("PodDisruptionBudget", *key)
    if budget is None:
        return NOTHING
    selector = forgiving_selector_of(budget["spec"].get("selector"))
    pods = [pod for pod in snapshot.objects("Pod", key[0]) if selector.matches(pod["metadata"].get("labels") or {})]
    disrupted = _disrupted(budget, pods, now)
    rechecks = [parse_time(time) + DELETION_TIMEOUT_SECONDS for time in disrupted.values()]
    try:
        expected, desired, unmanaged = _expected(budget, pods, snapshot)
    except (_Uncountable, ValueError) as error:
        return Outcome(_failed(budget, str(error), now))
    healthy = sum(_is_healthy(pod, disrupted) for pod in pods)
    allowed = max(0, healthy - desired) if expected > 0 else 0
    counted: Object = {
        "currentHealthy": healthy,
        "desiredHealthy": desired,
        "expectedPods": expected,
        "disruptionsAllowed": allowed,
        "observedGeneration": int(budget["metadata"].get("generation") or 0),
    }
    status = with_condition(budget, counted | ({"disruptedPods": disrupted} if disrupted else {}), now=now)
    records = _records(budget, pods, unmanaged=unmanaged)
    return Outcome(_writes(budget, status, records), min(rechecks) if rechecks else None)


def _expected(budget: Object, pods: Sequence[Object], snapshot: Snapshot) -> tuple[int, int, bool]:
    """(expected pods, desired healthy pods, whether pods without a controller were passed over)."""
    spec = budget["spec"]
    most_missing, least = spec.get("maxUnavailable"), spec.get("minAvailable")
    if isinstance(least, int):
        return len(pods), least, False
    if most_missing is None and least is None:
        return 0, 0, False
    scales = _scales(pods, snapshot)
    expected = sum(scales.values())
    unmanaged = any(controller_of(pod) is None for pod in pods)
    if most_missing is not None:
        return expected, max(0, expected - portion(most_missing, expected, round_up=True)), unmanaged
    return expected, portion(least, expected, round_up=True), unmanaged


def _scales(pods: Iterable[Object], snapshot: Snapshot) -> dict[str, int]:
    """The wanted replicas of the pods' controllers, by uid. Raises _Uncountable."""
    scales: dict[str, int] = {}
    for pod in pods:
        reference = controller_of(pod)
        if reference is None or reference["uid"] in scales:
            continue
        owner = next((found for kind in SCALED_KINDS if (found := owner_of(pod, kind, snapshot))), None)
        if owner is not None and (controller_of(owner) or {}).get("kind") == "Deployment":
            owner = owner_of(owner, "Deployment", snapshot)
        if owner is None:
            raise _Uncountable(f'found no controllers for pod "{name_of(pod)}"')
        scales[owner["metadata"]["uid"]] = int(owner["spec"].get("replicas", 1))
    return scales


def _disrupted(budget: Object, pods: Iterable[Object], now: float) -> dict[str, str]:
    """The noted pods that are still to be deleted, with the times of their evictions."""
    noted = (budget.get("status") or {}).get("disruptedPods") or {}
    left = {name_of(pod): noted[name_of(pod)] for pod in pods if name_of(pod) in noted and not is_terminating(pod)}
    return {name: time for name, time in left.items() if parse_time(time) + DELETION_TIMEOUT_SECONDS > now}


def _is_healthy(pod: Object, disrupted: dict[str, str]) -> bool:
    return condition_is_true(pod, "Ready") and not is_terminating(pod) and name_of(pod) not in disrupted


def _records(budget: Object, pods: Sequence[Object], *, unmanaged: bool) -> list[Record]:
    if not pods:
        return [Record(budget, "Normal", "NoPods", "No matching pods found")]
    if not unmanaged:
        return []
    text = (
        f"Pods selected by this PodDisruptionBudget (selector: {forgiving_selector_of(budget['spec'].get('selector'))})"
        " were found to be unmanaged. As a result, the status of the PDB cannot be calculated correctly, which may "
        'result in undefined behavior. To account for these pods please set ".spec.minAvailable" field of the PDB to '
        "an integer value."
    )
    return [Record(budget, "Warning", "UnmanagedPods", text)]


def _failed(budget: Object, why: str, now: float) -> tuple[Write, ...]:
    """Nothing may be disrupted while nobody knows how many pods there should be."""
    status = {**(budget.get("status") or {}), "disruptionsAllowed": 0}
    failed = with_condition(budget, status, reason=SYNC_FAILED, message=why, now=now)
    text = f"Failed to calculate the number of expected pods: {why}"
    return _writes(budget, failed, [Record(budget, "Warning", "CalculateExpectedPodCountFailed", text)])


def _writes(budget: Object, status: Object, records: Iterable[Record]) -> tuple[Write, ...]:
    """Guarded by the resourceVersion: an eviction that spent one meanwhile makes this a conflict."""
    if status == (budget.get("status") or {}):
        return ()
    return (*records, Update(budget | {"status": status}, subresource="status"))


def _of_pod(pod: Object, snapshot: Snapshot) -> Iterable[Key]:
    for budget in budgets_of(pod, snapshot.objects("PodDisruptionBudget", namespace_of(pod))):
        yield key_of(budget)


CONTROLLER = Controller(
    component="controllermanager",
    triggers={"PodDisruptionBudget": itself, "Pod": _of_pod},
    plan=plan,
    reads=(*SCALED_KINDS, "Deployment"),
)
