"""POST pods/NAME/eviction: a deletion that asks the pod's PodDisruptionBudget first.

    pod ended, pending or going ────────────────────────────────▶ delete, no budget is asked
    no budget ──────────────────────────────────────────────────▶ delete
    several budgets ────────────────────────────────────────────▶ 500: it could not be told which one to spend
    not ready, and the budget is kept without it (or its policy says AlwaysAllow) ──▶ delete, if still not ready
    budget of an older generation ──▶ 429, again in 10 s        budget used up ──▶ 429 with cause DisruptionBudget
    otherwise ──▶ take one disruption, note the pod in status.disruptedPods, condition DisruptionTarget, delete

Taking is guarded by the budget's resourceVersion: two evictions never spend the same disruption. Rules: eviction.go.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from petset.cluster.api.budgets import DISRUPTION_ALLOWED, SYNC_FAILED, budgets_of, with_condition
from petset.cluster.api.kinds import Kind
from petset.cluster.api.objects import Object, condition, condition_is_true, is_terminating, name_of
from petset.cluster.api.times import format_time
from petset.cluster.apiserver.bodies import struct_of
from petset.cluster.apiserver.deletion import Deletion
from petset.cluster.apiserver.options import DeleteOptions, ListOptions
from petset.cluster.apiserver.verbs import MAX_TRIES, Verbs
from petset.cluster.clock import Clock
from petset.cluster.errors import BadRequest, Conflict, InternalError, TooManyRequests

RETRY_SECONDS = 10
"""What a client is told to wait while a budget's status is out of date. A spent budget names no time, as upstream."""

_REFUSED = "Cannot evict pod as it would violate the pod's disruption budget."


class Evictions:
    """Acts through the verbs, so that every rule of the main resources holds here too."""

    def __init__(self, verbs: Verbs, deletion: Deletion, clock: Clock) -> None:
        self._verbs = verbs
        self._deletion = deletion
        self._clock = clock

    async def evict(self, kind: Kind, namespace: str, name: str, body: Any) -> Object:
        """The pod as it was deleted; `kind` is the row of pods. Raises NotFound, TooManyRequests, Conflict."""
        eviction = body if isinstance(body, dict) else {}
        if struct_of(eviction, "metadata").get("name") not in (None, "", name):
            raise BadRequest("name in URL does not match name in Eviction object")
        options = DeleteOptions.parse({}, eviction.get("deleteOptions"))
        pod = self._verbs.get(kind, namespace, name)
        budget = None if _ignores_budgets(pod) else self._budget_of(pod, namespace)
        spares = budget is not None and _is_kept_without(budget, pod)
        if budget is not None and not spares:
            await self._spend(budget, name, dry_run=options.dry_run)
        if not options.dry_run:
            pod = await self._mark(kind, pod)
        if spares and not options.revision:
            options = replace(options, revision=pod["metadata"]["resourceVersion"])
        try:
            return await self._deletion.delete(kind, namespace, name, options)
        except Conflict:
            if budget is None or not spares:
                raise
            raise _still_processed(name_of(budget)) from None  # it may have become ready meanwhile

    def _budget_of(self, pod: Object, namespace: str) -> Object | None:
        found = budgets_of(pod, self._verbs.list(self._budgets, namespace, ListOptions())["items"])
        if len(found) > 1:
            raise InternalError(
                "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support."
            )
        return found[0] if found else None

    @property
    def _budgets(self) -> Kind:
        return self._verbs.registry.of_kind("PodDisruptionBudget")

    async def _spend(self, budget: Object, pod: str, *, dry_run: bool) -> None:
        """Take one disruption from the budget. Raises TooManyRequests; Conflict only after many tries."""
        for attempt in range(MAX_TRIES):
            status = budget.get("status") or {}
            _check(budget, status)
            if dry_run:
                return
            left = int(status["disruptionsAllowed"]) - 1
            now = self._clock.now()
            noted = {**(status.get("disruptedPods") or {}), pod: format_time(now)}
            spent = {**status, "disruptionsAllowed": left, "disruptedPods": noted}
            new = {**budget, "status": spent if left else with_condition(budget, spent, now=now)}
            try:
                await self._verbs.replace(self._budgets, budget, new)
            except Conflict:
                if attempt == MAX_TRIES - 1:
                    raise
                budget = self._verbs.get(self._budgets, budget["metadata"]["namespace"], name_of(budget))
            else:
                return

    async def _mark(self, kind: Kind, pod: Object) -> Object:
        """The pod with the condition that tells why it goes; one that is going already stays as it is."""
        if is_terminating(pod):
            return pod
        now = format_time(self._clock.now())
        target = {
            "type": "DisruptionTarget",
            "status": "True",
            "lastProbeTime": None,
            "lastTransitionTime": now,
            "reason": "EvictionByEvictionAPI",
            "message": "Eviction API: evicting",
        }

        def change(old: Object) -> Object:
            status = old.get("status") or {}
            others = [each for each in status.get("conditions") or () if each["type"] != "DisruptionTarget"]
            return {**old, "status": {**status, "conditions": [*others, target]}}

        meta = pod["metadata"]
        return await self._verbs.modify(kind, meta["namespace"], meta["name"], change, subresource="status")


def _ignores_budgets(pod: Object) -> bool:
    """A pod that serves nobody disrupts nothing."""
    phase = (pod.get("status") or {}).get("phase")
    return phase in ("Succeeded", "Failed", "Pending") or is_terminating(pod)


def _is_kept_without(budget: Object, pod: Object) -> bool:
    """Whether a pod that is not ready may go without spending anything (unhealthyPodEvictionPolicy)."""
    if condition_is_true(pod, "Ready"):
        return False
    if budget["spec"].get("unhealthyPodEvictionPolicy") == "AlwaysAllow":
        return True
    status = budget.get("status") or {}
    healthy, desired = (int(status.get(name) or 0) for name in ("currentHealthy", "desiredHealthy"))
    return healthy >= desired > 0


def _check(budget: Object, status: Object) -> None:
    """Raises TooManyRequests when no disruption is allowed, or nobody knows yet."""
    if int(status.get("observedGeneration") or 0) < int(budget["metadata"].get("generation") or 0):
        raise _still_processed(name_of(budget))
    if int(status.get("disruptionsAllowed") or 0) > 0:
        return
    failed = condition(budget, DISRUPTION_ALLOWED)
    if failed is not None and failed.get("reason") == SYNC_FAILED and failed.get("message"):
        why = f"does not allow evicting pods currently because it failed sync: {failed['message']}"
    else:
        healthy, desired = status.get("currentHealthy", 0), status.get("desiredHealthy", 0)
        why = f"needs {desired} healthy pods and has {healthy} currently"
    raise TooManyRequests(_REFUSED, {"causes": [_cause(f"The disruption budget {name_of(budget)} {why}")]})


def _still_processed(budget: str) -> TooManyRequests:
    cause = _cause(f"The disruption budget {budget} is still being processed by the server.")
    return TooManyRequests(_REFUSED, {"causes": [cause], "retryAfterSeconds": RETRY_SECONDS})


def _cause(message: str) -> dict[str, str]:
    return {"reason": "DisruptionBudget", "message": message}
