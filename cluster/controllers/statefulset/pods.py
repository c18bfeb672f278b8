"""A StatefulSet's pods: which identity a pod has, what state it is in, and how a missing one is made.

A pod's identity is its name, `SET-ORDINAL`. Everything else that follows from the ordinal (hostname, labels, claims)
is written at creation; of these, the controller later restores only the pod-name label and the claim volumes.

Rules: stateful_set_utils.go (newStatefulSetPod, updateIdentity, updateStorage, isRunningAndReady and their kin).
"""

from __future__ import annotations

import copy
import re
from dataclasses import dataclass

from petset.cluster.api.objects import (
    Object,
    condition,
    controller_reference,
    is_terminating,
    labels_of,
    name_of,
    uid_of,
)
from petset.cluster.api.times import parse_time
from petset.cluster.controllers.statefulset.set_view import SetView

POD_NAME_LABEL = "statefulset.kubernetes.io/pod-name"
POD_INDEX_LABEL = "apps.kubernetes.io/pod-index"
REVISION_LABEL = "controller-revision-hash"

MAX_ORDINAL = 2**31 - 1

_POD_NAME = re.compile(r"(.*)-([0-9]+)")


def parent_and_ordinal(pod_name: str) -> tuple[str, int] | None:
    """`("my-web", 2)` of `my-web-2`: the longest possible parent; None where no StatefulSet can have made the name."""
    match = _POD_NAME.fullmatch(pod_name)
    if match is None or int(match[2]) > MAX_ORDINAL:
        return None
    return match[1], int(match[2])


def claim_name(template: Object, view: SetView, ordinal: int) -> str:
    return f"{name_of(template)}-{view.name}-{ordinal}"


@dataclass(frozen=True)
class PodView:
    """A member of a set, and what its state means to the set.

    `available_at` is the time (epoch seconds) after which a ready pod counts as available, None while it is not
    ready. A pod that does not exist yet has no phase, so `created` is False, and neither has it a uid.
    """

    object: Object
    name: str
    uid: str
    ordinal: int
    phase: str
    terminating: bool
    running_ready: bool
    available: bool
    available_at: float | None
    revision: str

    @classmethod
    def of(cls, obj: Object, *, ordinal: int, min_ready_seconds: int, now: float) -> PodView:
        phase = (obj.get("status") or {}).get("phase") or ""
        available_at = _available_at(obj, min_ready_seconds)
        return cls(
            object=obj,
            name=name_of(obj),
            uid=uid_of(obj),
            ordinal=ordinal,
            phase=phase,
            terminating=is_terminating(obj),
            running_ready=phase == "Running" and available_at is not None,
            available=available_at is not None and (min_ready_seconds == 0 or available_at < now),
            available_at=available_at,
            revision=labels_of(obj).get(REVISION_LABEL, ""),
        )

    @classmethod
    def missing(cls, name: str, *, ordinal: int, revision: str) -> PodView:
        """A pod that does not exist; `revision` is the one that it is to be made of."""
        return cls(
            object={"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}},
            name=name,
            uid="",
            ordinal=ordinal,
            phase="",
            terminating=False,
            running_ready=False,
            available=False,
            available_at=None,
            revision=revision,
        )

    @property
    def created(self) -> bool:
        return bool(self.phase)

    @property
    def finished(self) -> bool:
        """Its containers will not run again: the set replaces it, whatever their exit codes were."""
        return self.phase in ("Failed", "Succeeded")

    @property
    def running_available(self) -> bool:
        return self.running_ready and self.available

    @property
    def unavailable(self) -> bool:
        return not self.available or self.terminating


def _available_at(pod: Object, min_ready_seconds: int) -> float | None:
    ready = condition(pod, "Ready")
    if ready is None or ready.get("status") != "True":
        return None
    since = ready.get("lastTransitionTime")
    if not since:
        return float("inf") if min_ready_seconds else 0.0
    return parse_time(since) + min_ready_seconds


def build_pod(view: SetView, *, template: Object, revision: str, ordinal: int) -> Object:
    """The pod of an ordinal, made from the template of a revision; `revision` is the ControllerRevision's full name."""
    name = view.pod_name(ordinal)
    meta = template.get("metadata") or {}
    labels = dict(meta.get("labels") or {})
    labels |= {POD_NAME_LABEL: name, POD_INDEX_LABEL: str(ordinal), REVISION_LABEL: revision}
    metadata: Object = {"name": name, "generateName": f"{view.name}-", "namespace": view.namespace, "labels": labels}
    if annotations := meta.get("annotations"):
        metadata["annotations"] = dict(annotations)
    if finalizers := meta.get("finalizers"):
        metadata["finalizers"] = list(finalizers)
    metadata["ownerReferences"] = [controller_reference(view.object)]
    spec = copy.deepcopy(template["spec"]) | {"hostname": name, "subdomain": view.service_name}
    if not view.service_name:
        del spec["subdomain"]
    if view.claim_templates:
        spec["volumes"] = _volumes(view, spec, ordinal)
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}


def _volumes(view: SetView, spec: Object, ordinal: int) -> list[Object]:
    """The claims' volumes, then the spec's other ones: a volume of the same name is replaced."""
    claimed = {
        name_of(template): {
            "name": name_of(template),
            "persistentVolumeClaim": {"claimName": claim_name(template, view, ordinal)},
        }
        for template in view.claim_templates
    }
    others = [volume for volume in spec.get("volumes") or () if volume["name"] not in claimed]
    return [*claimed.values(), *others]


def identity_matches(view: SetView, pod: PodView) -> bool:
    """Hostname and subdomain are not compared: they cannot change after creation."""
    return pod.name == view.pod_name(pod.ordinal) and labels_of(pod.object).get(POD_NAME_LABEL) == pod.name


def storage_matches(view: SetView, pod: PodView) -> bool:
    volumes = {volume["name"]: volume for volume in pod.object["spec"].get("volumes") or ()}
    return all(
        (volumes.get(name_of(template), {}).get("persistentVolumeClaim") or {}).get("claimName")
        == claim_name(template, view, pod.ordinal)
        for template in view.claim_templates
    )


def repaired(view: SetView, pod: PodView) -> Object:
    """A copy of the pod with the identity and the volumes that its ordinal demands."""
    name = view.pod_name(pod.ordinal)
    obj = copy.deepcopy(pod.object)
    labels = labels_of(obj) | {POD_NAME_LABEL: name, POD_INDEX_LABEL: str(pod.ordinal)}
    obj["metadata"] |= {"name": name, "labels": labels}
    if not storage_matches(view, pod):
        obj["spec"]["volumes"] = _volumes(view, obj["spec"], pod.ordinal)
    return obj
