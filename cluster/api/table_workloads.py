"""The tables of pods and of what makes and guards them. What a pod's cells say is decided in pod_status.py.

Rules of pkg/printers/internalversion/printers.go (1.34), as the API server applies them: always in wide form.
"""

from __future__ import annotations

from typing import Any

from petset.cluster.api.objects import (
    Object,
    condition_is_true,
    controller_of,
    group_of,
    is_terminating,
    name_of,
)
from petset.cluster.api.pod_status import summarize
from petset.cluster.api.table_cells import (
    NONE,
    age,
    field,
    human_duration,
    images_text,
    labels_text,
    names_text,
    seconds_of,
    selector_text,
)
from petset.cluster.api.table_columns import AGE, CONTAINERS, IMAGES, NAME, SELECTOR, Table, column, number, wide

_JOB_STATES = ("Complete", "Failed", "Terminating", "Suspended", "FailureTarget", "SuccessCriteriaMet")
"""The condition that names a job's status, the strongest first; Terminating is none, but stands among them."""


def _pod(obj: Object, now: float) -> list[Any]:
    summary = summarize(obj)
    gates = [gate.get("conditionType", "") for gate in field(obj, "spec.readinessGates", ())]
    open_gates = sum(condition_is_true(obj, gate) for gate in gates)
    addresses = [each.get("ip") for each in field(obj, "status.podIPs", ())]
    return [
        name_of(obj),
        summary.ready_text,
        summary.status,
        summary.restarts_text(now),
        age(obj, now),
        (addresses[0] if addresses else field(obj, "status.podIP")) or NONE,
        field(obj, "spec.nodeName") or NONE,
        field(obj, "status.nominatedNodeName") or NONE,
        f"{open_gates}/{len(gates)}" if gates else NONE,
    ]


def _replicas_ready(obj: Object) -> str:
    return f"{field(obj, 'status.readyReplicas', 0)}/{field(obj, 'spec.replicas', 0)}"


def _template(obj: Object) -> list[Any]:
    containers = field(obj, "spec.template.spec.containers", ())
    return [names_text(containers), images_text(containers)]


def _stateful_set(obj: Object, now: float) -> list[Any]:
    return [name_of(obj), _replicas_ready(obj), age(obj, now), *_template(obj)]


def _deployment(obj: Object, now: float) -> list[Any]:
    return [
        name_of(obj),
        _replicas_ready(obj),
        field(obj, "status.updatedReplicas", 0),
        field(obj, "status.availableReplicas", 0),
        age(obj, now),
        *_template(obj),
        selector_text(field(obj, "spec.selector")),
    ]


def _replicas(obj: Object, now: float) -> list[Any]:
    return [
        name_of(obj),
        field(obj, "spec.replicas", 0),
        field(obj, "status.replicas", 0),
        field(obj, "status.readyReplicas", 0),
        age(obj, now),
        *_template(obj),
    ]


def _replica_set(obj: Object, now: float) -> list[Any]:
    return [*_replicas(obj, now), selector_text(field(obj, "spec.selector"))]


def _replication_controller(obj: Object, now: float) -> list[Any]:
    return [*_replicas(obj, now), labels_text(field(obj, "spec.selector"))]


def _daemon_set(obj: Object, now: float) -> list[Any]:
    counts = ("desiredNumberScheduled", "currentNumberScheduled", "numberReady", "updatedNumberScheduled")
    return [
        name_of(obj),
        *(field(obj, f"status.{count}", 0) for count in (*counts, "numberAvailable")),
        labels_text(field(obj, "spec.template.spec.nodeSelector")),
        age(obj, now),
        *_template(obj),
        selector_text(field(obj, "spec.selector")),
    ]


def _job(obj: Object, now: float) -> list[Any]:
    states = {state for state in _JOB_STATES if condition_is_true(obj, state)}
    if is_terminating(obj):
        states.add("Terminating")
    parallelism = field(obj, "spec.parallelism", 0)
    wanted = field(obj, "spec.completions", f"1 of {parallelism}" if parallelism > 1 else 1)
    started, completed = (seconds_of(field(obj, f"status.{name}")) for name in ("startTime", "completionTime"))
    return [
        name_of(obj),
        next((state for state in _JOB_STATES if state in states), "Running"),
        f"{field(obj, 'status.succeeded', 0)}/{wanted}",
        "" if started is None else human_duration((now if completed is None else completed) - started),
        age(obj, now),
        *_template(obj),
        selector_text(field(obj, "spec.selector")),
    ]


def _controller_revision(obj: Object, now: float) -> list[Any]:
    owner = controller_of(obj)
    controller = NONE
    if owner:
        group = group_of(str(owner.get("apiVersion", "")))
        controller = f"{owner['kind']}{'.' if group else ''}{group}".lower() + f"/{owner['name']}"
    return [name_of(obj), controller, obj.get("revision", 0), age(obj, now)]


def _budget(obj: Object, now: float) -> list[Any]:
    limits = [str(field(obj, f"spec.{name}", "N/A")) for name in ("minAvailable", "maxUnavailable")]
    return [name_of(obj), *limits, field(obj, "status.disruptionsAllowed", 0), age(obj, now)]


_DESIRED_CURRENT_READY = (
    number("Desired", "Number of desired pods."),
    number("Current", "Number of existing pods."),
    number("Ready", "Number of ready pods."),
)
_REPLICAS_COLUMNS = (NAME, *_DESIRED_CURRENT_READY, AGE, CONTAINERS, IMAGES, SELECTOR)

WORKLOADS: dict[str, Table] = {
    "Pod": Table(
        (
            NAME,
            column("Ready", "How many of the pod's containers are ready."),
            column("Status", "The aggregate status of the containers in this pod."),
            column("Restarts", "How often the containers were restarted, and when the last time."),
            AGE,
            wide("IP", "The pod's address."),
            wide("Node", "The node that the pod is bound to."),
            wide("Nominated Node", "The node that preemption makes room on."),
            wide("Readiness Gates", "How many of the readiness gates are open."),
        ),
        _pod,
    ),
    "StatefulSet": Table(
        (NAME, column("Ready", "Number of ready pods, of all desired."), AGE, CONTAINERS, IMAGES), _stateful_set
    ),
    "ControllerRevision": Table(
        (
            NAME,
            column("Controller", "The object that this is a revision of."),
            column("Revision", "The revision's number."),
            AGE,
        ),
        _controller_revision,
    ),
    "Deployment": Table(
        (
            NAME,
            column("Ready", "Number of ready pods, of all desired."),
            column("Up-to-date", "Number of pods of the newest template."),
            column("Available", "Number of available pods."),
            AGE,
            CONTAINERS,
            IMAGES,
            SELECTOR,
        ),
        _deployment,
    ),
    "ReplicaSet": Table(_REPLICAS_COLUMNS, _replica_set),
    "ReplicationController": Table(_REPLICAS_COLUMNS, _replication_controller),
    "DaemonSet": Table(
        (
            NAME,
            *_DESIRED_CURRENT_READY,
            number("Up-to-date", "Number of nodes with a pod of the newest template."),
            number("Available", "Number of nodes with an available pod."),
            column("Node Selector", "Which nodes run a pod."),
            AGE,
            CONTAINERS,
            IMAGES,
            SELECTOR,
        ),
        _daemon_set,
    ),
    "Job": Table(
        (
            NAME,
            column("Status", "The status of the job."),
            column("Completions", "Number of pods that succeeded, of those wanted."),
            column("Duration", "Time required to complete the job."),
            AGE,
            CONTAINERS,
            IMAGES,
            SELECTOR,
        ),
        _job,
    ),
    "PodDisruptionBudget": Table(
        (
            NAME,
            column("Min Available", "How many pods must be available."),
            column("Max Unavailable", "How many pods may be unavailable."),
            number("Allowed Disruptions", "How many pods may be disrupted now."),
            AGE,
        ),
        _budget,
    ),
}
