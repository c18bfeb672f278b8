"""Validation of what keeps interchangeable pods (ReplicaSet, ReplicationController, Deployment) and of their budgets.

Rules: apps, core and policy validation.go. The texts say "deployment" of a ReplicaSet's empty selector because they
do so there.
"""

from __future__ import annotations

from petset.cluster.api.fields import FieldError, forbidden, not_supported, required, wrong
from petset.cluster.api.objects import Object
from petset.cluster.api.portions import is_zero, validate_portion
from petset.cluster.api.selectors import LabelMatcher, selector_of, selector_of_labels
from petset.cluster.api.validation_workloads import not_negative, validate_pod_spec
from petset.cluster.errors import BadRequest


def validate_replica_set(replica_set: Object) -> list[FieldError]:
    spec = replica_set["spec"]
    return [*_validate_counts(spec), *_validate_selected_template(spec, "ReplicaSet")]


def validate_deployment(deployment: Object) -> list[FieldError]:
    spec = deployment["spec"]
    deadline = spec.get("progressDeadlineSeconds")
    errors = [*_validate_counts(spec), *_validate_selected_template(spec, "ReplicaSet")]
    errors += _validate_strategy(spec["strategy"])
    errors += not_negative("spec.revisionHistoryLimit", spec.get("revisionHistoryLimit"))
    errors += not_negative("spec.progressDeadlineSeconds", deadline)
    if deadline is not None and deadline <= (spec.get("minReadySeconds") or 0):
        errors.append(wrong("spec.progressDeadlineSeconds", deadline, "must be greater than minReadySeconds"))
    return errors


def validate_fixed_selector(new: Object, old: Object) -> list[FieldError]:
    """The selector of a ReplicaSet or Deployment is chosen once (one of a ReplicationController may change)."""
    if new["spec"].get("selector") == old["spec"].get("selector"):
        return []
    return [wrong("spec.selector", new["spec"].get("selector"), "field is immutable")]


def validate_replication_controller(controller: Object) -> list[FieldError]:
    spec = controller["spec"]
    errors = _validate_counts(spec)
    if not spec.get("selector"):
        errors.append(required("spec.selector"))
    if not spec.get("template"):
        return [*errors, required("spec.template")]
    return errors + _validate_template(spec, selector_of_labels(spec.get("selector")), "ReplicationController")


def validate_budget(budget: Object) -> list[FieldError]:
    spec = budget.get("spec") or {}
    errors: list[FieldError] = []
    if spec.get("minAvailable") is not None and spec.get("maxUnavailable") is not None:
        errors.append(wrong("spec", spec, "minAvailable and maxUnavailable cannot be both set"))
    for name in ("minAvailable", "maxUnavailable"):
        errors += validate_portion(f"spec.{name}", spec.get(name), at_most_all=True)
    policy = spec.get("unhealthyPodEvictionPolicy")
    if policy not in (None, "AlwaysAllow", "IfHealthyBudget"):
        choices = ("AlwaysAllow", "IfHealthyBudget")
        errors.append(not_supported("spec.unhealthyPodEvictionPolicy", policy, choices))
    try:
        selector_of(spec.get("selector"))
    except BadRequest as error:
        errors.append(wrong("spec.selector", spec.get("selector"), error.message))
    return errors


def _validate_counts(spec: Object) -> list[FieldError]:
    errors = not_negative("spec.replicas", spec.get("replicas"))
    return errors + not_negative("spec.minReadySeconds", spec.get("minReadySeconds"))


def _validate_selected_template(spec: Object, kind: str) -> list[FieldError]:
    selector = spec.get("selector")
    if selector is None:
        return [required("spec.selector")]
    if not selector.get("matchLabels") and not selector.get("matchExpressions"):
        return [wrong("spec.selector", selector, "empty selector is invalid for deployment")]
    try:
        matcher = selector_of(selector)
    except BadRequest as error:
        return [wrong("spec.selector", selector, error.message)]
    return _validate_template(spec, matcher, kind)


def _validate_template(spec: Object, selector: LabelMatcher, kind: str) -> list[FieldError]:
    """Pods that end by themselves are a Job's business: these kinds restart theirs always."""
    path = "spec.template"
    template = spec.get("template") or {}
    labels = (template.get("metadata") or {}).get("labels") or {}
    pod_spec = template.get("spec") or {}
    errors: list[FieldError] = []
    if not selector.nothing and not selector.matches(labels):
        errors.append(wrong(f"{path}.metadata.labels", labels, "`selector` does not match template `labels`"))
    errors += validate_pod_spec(pod_spec, f"{path}.spec")
    if pod_spec.get("restartPolicy") != "Always":
        errors.append(not_supported(f"{path}.spec.restartPolicy", pod_spec.get("restartPolicy"), ("Always",)))
    if pod_spec.get("activeDeadlineSeconds") is not None:
        text = f"activeDeadlineSeconds in {kind} is not Supported"
        errors.append(forbidden(f"{path}.spec.activeDeadlineSeconds", text))
    return errors


def _validate_strategy(strategy: Object) -> list[FieldError]:
    path = "spec.strategy"
    if strategy["type"] == "Recreate":
        text = "may not be specified when strategy `type` is 'Recreate'"
        return [forbidden(f"{path}.rollingUpdate", text)] if "rollingUpdate" in strategy else []
    if strategy["type"] != "RollingUpdate":
        return [not_supported(f"{path}.type", strategy["type"], ("Recreate", "RollingUpdate"))]
    rolling = strategy["rollingUpdate"]
    unavailable, surge = rolling["maxUnavailable"], rolling["maxSurge"]
    path += ".rollingUpdate"
    errors = validate_portion(f"{path}.maxUnavailable", unavailable, at_most_all=True)
    errors += validate_portion(f"{path}.maxSurge", surge)
    if is_zero(unavailable) and is_zero(surge):
        errors.append(wrong(f"{path}.maxUnavailable", unavailable, "may not be 0 when `maxSurge` is 0"))
    return errors
