"""The defaults of kinds that are stored and that nothing here acts upon (the `SetDefaults_…` of their groups). Pure.

Clients rely on them: kubectl's `describe` reads such fields without asking whether they are there.
"""

from __future__ import annotations

from collections.abc import Callable

from petset.cluster.api.defaults_pods import fill_template, set_default, struct_in
from petset.cluster.api.objects import Object

_RBAC = "rbac.authorization.k8s.io"


def _fill_priority_class(priority_class: Object) -> None:
    set_default(priority_class, "preemptionPolicy", "PreemptLowerPriority")


def _fill_daemon_set(daemon_set: Object) -> None:
    spec = daemon_set.setdefault("spec", {})
    spec.setdefault("revisionHistoryLimit", 10)
    strategy = struct_in(spec, "updateStrategy")
    set_default(strategy, "type", "RollingUpdate")
    if strategy["type"] == "RollingUpdate":
        rolling = struct_in(strategy, "rollingUpdate")
        rolling.setdefault("maxUnavailable", 1)
        rolling.setdefault("maxSurge", 0)
    fill_template(spec)


def _fill_job(job: Object) -> None:
    """Without `parallelism` one pod at a time; without both, one pod in all."""
    spec = job.setdefault("spec", {})
    if spec.get("parallelism") is None:
        spec.setdefault("completions", 1)
    spec.setdefault("parallelism", 1)
    spec.setdefault("backoffLimit", 6)
    spec.setdefault("suspend", False)
    set_default(spec, "completionMode", "NonIndexed")
    replaced_when = "Failed" if spec.get("podFailurePolicy") else "TerminatingOrFailed"
    set_default(spec, "podReplacementPolicy", replaced_when)
    fill_template(spec)


def _fill_cron_job(cron_job: Object) -> None:
    spec = cron_job.setdefault("spec", {})
    set_default(spec, "concurrencyPolicy", "Allow")
    spec.setdefault("suspend", False)
    spec.setdefault("successfulJobsHistoryLimit", 3)
    spec.setdefault("failedJobsHistoryLimit", 1)
    fill_template((spec.get("jobTemplate") or {}).get("spec") or {})


def _fill_ingress_class(ingress_class: Object) -> None:
    if parameters := (ingress_class.get("spec") or {}).get("parameters"):
        set_default(parameters, "scope", "Cluster")


def _fill_network_policy(policy: Object) -> None:
    spec = policy.setdefault("spec", {})
    for direction in ("ingress", "egress"):
        for rule in spec.get(direction) or ():
            for port in rule.get("ports") or ():
                set_default(port, "protocol", "TCP")
    if not spec.get("policyTypes"):
        spec["policyTypes"] = ["Ingress", "Egress"] if spec.get("egress") else ["Ingress"]


def _fill_autoscaler(autoscaler: Object) -> None:
    autoscaler.setdefault("spec", {}).setdefault("minReplicas", 1)


def _fill_binding(binding: Object) -> None:
    if role := binding.get("roleRef"):
        set_default(role, "apiGroup", _RBAC)
    for subject in binding.get("subjects") or ():
        if subject.get("kind") in ("User", "Group"):
            set_default(subject, "apiGroup", _RBAC)


def _fill_driver(driver: Object) -> None:
    spec = driver.setdefault("spec", {})
    spec.setdefault("attachRequired", True)
    for name in ("podInfoOnMount", "storageCapacity", "requiresRepublish", "seLinuxMount"):
        spec.setdefault(name, False)
    set_default(spec, "fsGroupPolicy", "ReadWriteOnceWithFSType")
    spec["volumeLifecycleModes"] = spec.get("volumeLifecycleModes") or ["Persistent"]


def _fill_webhooks(configuration: Object) -> None:
    for webhook in configuration.get("webhooks") or ():
        set_default(webhook, "failurePolicy", "Fail")
        set_default(webhook, "matchPolicy", "Equivalent")
        webhook.setdefault("namespaceSelector", {})
        webhook.setdefault("objectSelector", {})
        webhook.setdefault("timeoutSeconds", 10)
        if configuration.get("kind") == "MutatingWebhookConfiguration":
            set_default(webhook, "reinvocationPolicy", "Never")
        for rule in webhook.get("rules") or ():
            set_default(rule, "scope", "*")
        if service := (webhook.get("clientConfig") or {}).get("service"):
            service.setdefault("port", 443)


def _fill_pod_template(pod_template: Object) -> None:
    fill_template(pod_template)


KEPT: dict[str, Callable[[Object], None]] = {
    "PriorityClass": _fill_priority_class,
    "DaemonSet": _fill_daemon_set,
    "Job": _fill_job,
    "CronJob": _fill_cron_job,
    "IngressClass": _fill_ingress_class,
    "NetworkPolicy": _fill_network_policy,
    "HorizontalPodAutoscaler": _fill_autoscaler,
    "RoleBinding": _fill_binding,
    "ClusterRoleBinding": _fill_binding,
    "CSIDriver": _fill_driver,
    "MutatingWebhookConfiguration": _fill_webhooks,
    "ValidatingWebhookConfiguration": _fill_webhooks,
    "PodTemplate": _fill_pod_template,
}
