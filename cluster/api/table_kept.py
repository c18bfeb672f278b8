"""The tables of kinds that are kept and that users look at: schedules, routes, rights, autoscalers, quotas, requests.

Rules of pkg/printers/internalversion/printers.go (1.34), as the API server applies them: always in wide form.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from petset.cluster.api.objects import Object, annotations_of, condition_is_true, name_of
from petset.cluster.api.table_cells import (
    NONE,
    UNKNOWN,
    UNSET,
    age,
    field,
    human_duration,
    images_text,
    labels_text,
    names_text,
    quantity_text,
    selector_text,
    since,
)
from petset.cluster.api.table_columns import AGE, CONTAINERS, IMAGES, NAME, SELECTOR, Table, column, number, wide

_SHOWN_HOSTS = 3
_SHOWN_METRICS = 2
_SHOWN_WEBHOOK_KINDS = ("MutatingWebhookConfiguration", "ValidatingWebhookConfiguration")


def _service_account(obj: Object, now: float) -> list[Any]:
    return [name_of(obj), len(obj.get("secrets") or ()), age(obj, now)]


def _cron_job(obj: Object, now: float) -> list[Any]:
    last, suspended = field(obj, "status.lastScheduleTime"), field(obj, "spec.suspend")
    containers = field(obj, "spec.jobTemplate.spec.template.spec.containers", ())
    return [
        name_of(obj),
        field(obj, "spec.schedule", ""),
        field(obj, "spec.timeZone", NONE),
        UNSET if suspended is None else str(bool(suspended)),
        len(field(obj, "status.active", ())),
        since(last, now) if last else NONE,
        age(obj, now),
        names_text(containers),
        images_text(containers),
        selector_text(field(obj, "spec.jobTemplate.spec.selector", {})),
    ]


def _ingress(obj: Object, now: float) -> list[Any]:
    of_old = annotations_of(obj).get("kubernetes.io/ingress.class")
    hosts = [each["host"] for each in field(obj, "spec.rules", ()) if each.get("host")]
    addresses = (each.get("ip") or each.get("hostname") for each in field(obj, "status.loadBalancer.ingress", ()))
    return [
        name_of(obj),
        field(obj, "spec.ingressClassName") or of_old or NONE,
        _cut(hosts, _SHOWN_HOSTS, separator=",") if hosts else "*",
        ",".join(sorted(set(filter(None, addresses)))),
        "80, 443" if field(obj, "spec.tls") else "80",
        age(obj, now),
    ]


def _ingress_class(obj: Object, now: float) -> list[Any]:
    parameters, text = field(obj, "spec.parameters"), NONE
    if parameters:
        group = f".{parameters['apiGroup']}" if parameters.get("apiGroup") is not None else ""
        text = f"{parameters.get('kind', '')}{group}/{parameters.get('name', '')}"
    return [name_of(obj), field(obj, "spec.controller", ""), text, age(obj, now)]


def _network_policy(obj: Object, now: float) -> list[Any]:
    return [name_of(obj), selector_text(field(obj, "spec.podSelector", {})), age(obj, now)]


def _binding(obj: Object, now: float) -> list[Any]:
    subjects = obj.get("subjects") or ()

    def names(kind: str) -> str:
        return ", ".join(str(each.get("name", "")) for each in subjects if each.get("kind") == kind)

    accounts = (each for each in subjects if each.get("kind") == "ServiceAccount")
    return [
        name_of(obj),
        f"{field(obj, 'roleRef.kind', '')}/{field(obj, 'roleRef.name', '')}",
        age(obj, now),
        names("User"),
        names("Group"),
        ", ".join(f"{each.get('namespace', '')}/{each.get('name', '')}" for each in accounts),
    ]


def _autoscaler(obj: Object, now: float) -> list[Any]:
    least = field(obj, "spec.minReplicas")
    return [
        name_of(obj),
        f"{field(obj, 'spec.scaleTargetRef.kind', '')}/{field(obj, 'spec.scaleTargetRef.name', '')}",
        _metrics_text(field(obj, "spec.metrics", ()), field(obj, "status.currentMetrics", ())),
        UNSET if least is None else str(least),
        field(obj, "spec.maxReplicas", 0),
        field(obj, "status.currentReplicas", 0),
        age(obj, now),
    ]


def _metrics_text(wanted: list[Object], current: list[Object]) -> str:
    """`cpu: 12%/80%`: what is measured, where it stands and where it should (formatHPAMetrics)."""
    if not wanted:
        return NONE
    texts = []
    for index, metric in enumerate(wanted):
        told = current[index] if index < len(current) else {}
        texts.append(_metric_text(metric, told))
    return _cut(texts, _SHOWN_METRICS, separator=", ")


def _metric_text(metric: Object, told: Object) -> str:
    source = next((each for each in metric if each != "type"), "")
    body, present = metric.get(source) or {}, (told.get(source) or {}).get("current") or {}
    target = body.get("target") or {}
    if source in ("resource", "containerResource"):
        name = f"{body.get('name', '')}: "
        if target.get("averageUtilization") is not None:
            share = present.get("averageUtilization")
            return f"{name}{UNKNOWN if share is None else f'{share}%'}/{target['averageUtilization']}%"
        return f"{name}{_amount(present, 'averageValue')}/{_amount(target, 'averageValue')}"
    if target.get("averageValue") is not None:
        more = " (avg)" if source in ("external", "object") else ""
        return f"{_amount(present, 'averageValue')}/{_amount(target, 'averageValue')}{more}"
    return f"{_amount(present, 'value')}/{_amount(target, 'value')}"


def _amount(amounts: Object, name: str) -> str:
    return quantity_text(amounts, name) if amounts.get(name) is not None else UNKNOWN


def _quota(obj: Object, now: float) -> list[Any]:
    hard, used = field(obj, "status.hard", {}), field(obj, "status.used", {})

    def text(names: Iterable[str]) -> str:
        return ", ".join(f"{name}: {quantity_text(used, name)}/{quantity_text(hard, name)}" for name in sorted(names))

    limits = {name for name in hard if name.startswith("limits.")}
    return [name_of(obj), text(set(hard) - limits), text(limits), age(obj, now)]


def _priority_class(obj: Object, now: float) -> list[Any]:
    policy = obj.get("preemptionPolicy") or ""
    return [name_of(obj), obj.get("value") or 0, bool(obj.get("globalDefault")), age(obj, now), policy]


def _runtime_class(obj: Object, now: float) -> list[Any]:
    return [name_of(obj), obj.get("handler", ""), age(obj, now)]


def _signing_request(obj: Object, now: float) -> list[Any]:
    seconds = field(obj, "spec.expirationSeconds")
    return [
        name_of(obj),
        age(obj, now),
        field(obj, "spec.signerName", NONE),
        field(obj, "spec.username", ""),
        NONE if seconds is None else human_duration(float(seconds)),
        _signing_state(obj),
    ]


def _signing_state(obj: Object) -> str:
    """extractCSRStatus: the decision, then what became of it."""
    decisions = [each for each in ("Denied", "Approved") if condition_is_true(obj, each)]
    text = decisions[0] if decisions else "Pending"
    text += ",Failed" if condition_is_true(obj, "Failed") else ""
    return text + (",Issued" if field(obj, "status.certificate") else "")


def _pod_template(obj: Object, now: float) -> list[Any]:
    containers = field(obj, "template.spec.containers", ())
    labels = labels_text(field(obj, "template.metadata.labels", {}))
    return [name_of(obj), names_text(containers), images_text(containers), labels]


def _webhooks(obj: Object, now: float) -> list[Any]:
    return [name_of(obj), len(obj.get("webhooks") or ()), age(obj, now)]


def _attachment(obj: Object, now: float) -> list[Any]:
    return [
        name_of(obj),
        field(obj, "spec.attacher", ""),
        field(obj, "spec.source.persistentVolumeName", ""),
        field(obj, "spec.nodeName", ""),
        bool(field(obj, "status.attached")),
        age(obj, now),
    ]


def _cut(texts: list[str], shown: int, *, separator: str) -> str:
    more = f" + {len(texts) - shown} more..." if len(texts) > shown else ""
    return separator.join(texts[:shown]) + more


_BINDING = Table(
    (
        NAME,
        column("Role", "What the subjects may do."),
        AGE,
        wide("Users", "Users that are bound."),
        wide("Groups", "Groups that are bound."),
        wide("ServiceAccounts", "Service accounts that are bound."),
    ),
    _binding,
)
KEPT: dict[str, Table] = {
    "ServiceAccount": Table((NAME, column("Secrets", "Number of secrets.", type_="string"), AGE), _service_account),
    "CronJob": Table(
        (
            NAME,
            column("Schedule", "When it runs, in the form of cron."),
            column("Timezone", "Where the schedule is meant."),
            column("Suspend", "Whether it does not run for now.", type_="boolean"),
            number("Active", "Number of jobs that run."),
            column("Last Schedule", "Time since it last ran."),
            AGE,
            CONTAINERS,
            IMAGES,
            SELECTOR,
        ),
        _cron_job,
    ),
    "Ingress": Table(
        (
            NAME,
            column("Class", "Whose work it is."),
            column("Hosts", "Hosts that it routes."),
            column("Address", "Where it listens."),
            column("Ports", "Ports that it listens at."),
            AGE,
        ),
        _ingress,
    ),
    "IngressClass": Table(
        (NAME, column("Controller", "Who does the work."), column("Parameters", "What else it needs."), AGE),
        _ingress_class,
    ),
    "NetworkPolicy": Table((NAME, column("Pod-Selector", "Which pods it is about."), AGE), _network_policy),
    "RoleBinding": _BINDING,
    "ClusterRoleBinding": _BINDING,
    "HorizontalPodAutoscaler": Table(
        (
            NAME,
            column("Reference", "What is scaled."),
            column("Targets", "What is measured, and what it should be."),
            column("MinPods", "The fewest pods."),
            number("MaxPods", "The most pods."),
            number("Replicas", "Number of pods now."),
            AGE,
        ),
        _autoscaler,
    ),
    "ResourceQuota": Table((NAME, column("Request", "What is used."), column("Limit", "Limits in use."), AGE), _quota),
    "PriorityClass": Table(
        (
            NAME,
            number("Value", "The priority."),
            column("Global-Default", "Whether pods without a class have it.", type_="boolean"),
            AGE,
            column("PreemptionPolicy", "Whether it may displace others."),
        ),
        _priority_class,
    ),
    "RuntimeClass": Table((NAME, column("Handler", "What runs the pods."), AGE), _runtime_class),
    "CertificateSigningRequest": Table(
        (
            NAME,
            AGE,
            column("SignerName", "Who is to sign."),
            column("Requestor", "Who asks."),
            column("RequestedDuration", "How long it shall be valid."),
            column("Condition", "What was decided."),
        ),
        _signing_request,
    ),
    "PodTemplate": Table(
        (
            NAME,
            column("Containers", "Names of each container in the template."),
            column("Images", "Images referenced by each container in the template."),
            column("Pod Labels", "Labels of its pods."),
        ),
        _pod_template,
    ),
    **{kind: Table((NAME, number("Webhooks", "Number of webhooks."), AGE), _webhooks) for kind in _SHOWN_WEBHOOK_KINDS},
    "VolumeAttachment": Table(
        (
            NAME,
            column("Attacher", "Who attaches."),
            column("PV", "The volume."),
            column("Node", "Where it is attached."),
            column("Attached", "Whether it is.", type_="boolean"),
            AGE,
        ),
        _attachment,
    ),
}
