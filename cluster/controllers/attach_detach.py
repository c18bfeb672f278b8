"""Network disks: attached to the node of the pod that uses them, detached when nobody there does.

    pod gets its node ─▶ VolumeAttachment created ─▶ status.attached ─▶ Node.status.volumesAttached   the kubelet mounts
                              │ exclusive, and another node has it
                              └─▶ event FailedAttachVolume `Multi-Attach error …`, and wait

    no pod left there ─▶ the node does not use it   ─▶ volumesAttached shrinks ─▶ VolumeAttachment deleted
                      ├▶ it still says that it does ─▶ wait for the kubelet (Node.status.volumesInUse)
                      └▶ … and is not Ready         ─▶ by force: after six minutes, at once with the taint
                                                       out-of-service, at once when the disk is fenced

`volumesAttached` is taken away under the Node's resourceVersion: a kubelet that says "in use" in the same moment makes
that write fail, and the plan is made anew (api/attachments.py).

A detachment by force does not stop a process on a node that is merely cut off: as in Kubernetes, whether its writes
still reach the disk is the storage's affair. Without fencing both nodes write, and a `ForcedDetach` event on the volume
says so; with it (`petset up --fence`) a finalizer keeps the VolumeAttachment until the disk has been taken away from
whoever holds it (node/attacher.py), and only then is the disk attached elsewhere.

A pod whose claims are being bound has its node promised (`status.nominatedNodeName`): its disks are attached there
while the scheduler finishes. Kubernetes waits for the binding.

VolumeAttachments outlive what they are about: one whose volume is gone is released like any other, and what users
deleted is made anew, or no longer reported to the kubelet. `--fence` may come and go with `petset up`: attachments get
the finalizer, or lose it.

One key per PersistentVolume. The six minutes count from an annotation, so that a restart does not forget them. Rules
and texts: pkg/controller/volume/attachdetach (reconciler.go, operation_generator.go) and the external attacher, whose
part is done here too. Left out: CSIDriver.attachRequired, limits of volumes per node.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial

from petset.cluster.api.attachments import (
    DISK_HANDLE,
    attached_disk,
    attached_volume,
    attacher_finalizer,
    attachment_name,
    expected_node,
    is_exclusive,
    keeps_volumes,
    needs_attachment,
    unique_name,
    uses_claim,
    volumes_attached,
    volumes_in_use,
)
from petset.cluster.api.objects import (
    Object,
    annotations_of,
    condition_is_true,
    is_terminating,
    name_of,
    namespace_of,
    uid_of,
)
from petset.cluster.api.taints import OUT_OF_SERVICE, taints_of
from petset.cluster.api.times import format_time, parse_time
from petset.cluster.api.volumes import claim_names, is_bound
from petset.cluster.control.controller import Controller
from petset.cluster.control.snapshot import Key, Snapshot
from petset.cluster.control.writes import NOTHING, Create, Delete, Outcome, Patch, Record, Update, Write
from petset.cluster.controllers.edits import finalizers_of, without_finalizer

MAX_WAIT_FOR_UNMOUNT_SECONDS = 360.0
DETACH_REQUESTED_AT = "petset.dev/detach-requested-at"
"""On a VolumeAttachment that nobody needs any more, while its node still uses the volume: since when."""


def plan_volume(
    key: Key, snapshot: Snapshot, now: float, *, fences: bool, wait_seconds: float = MAX_WAIT_FOR_UNMOUNT_SECONDS
) -> Outcome:
    """Attach and detach one PersistentVolume."""
    volume = snapshot.get("PersistentVolume", *key)
    attachments = [each for each in snapshot.objects("VolumeAttachment") if attached_volume(each) == key[1]]
    if volume is None or not needs_attachment(volume):
        if not attachments or not key[1]:
            return NOTHING
        volume = _volume_that_was(attachments[0])
    draft = _Draft(volume, attachments, snapshot, now, fences=fences, wait_seconds=wait_seconds)
    if draft.correct_reports():
        return Outcome(tuple(draft.writes), again_at=now)
    for attachment in attachments:
        draft.look_at(attachment)
    for node in sorted(draft.users):
        draft.attach(node)
    return Outcome(tuple(draft.writes), draft.again_at)


@dataclass(frozen=True)
class _Release:
    """Whether a volume may be detached from a node. `since`: who waits for that must remember since when."""

    now: bool
    forced: bool = False
    again_at: float | None = None
    remember: bool = False


class _Draft:
    """The writes for one volume in the making."""

    def __init__(
        self, volume: Object, attachments: list[Object], snapshot: Snapshot, now: float, *,
        fences: bool, wait_seconds: float,
    ) -> None:  # fmt: skip
        self.volume = volume
        self.snapshot = snapshot
        self.now = now
        self.fences = fences
        self.wait_seconds = wait_seconds
        self.users = _users(volume, snapshot)
        self.holders = {each["spec"]["nodeName"] for each in attachments}
        """Nodes that have the volume, or may have it until a deletion is through."""
        self.attachments = {each["spec"]["nodeName"]: each for each in attachments}
        self.writes: list[Write] = []
        self.again_at: float | None = None

    def correct_reports(self) -> bool:
        """Take the volume off nodes that have no attachment: a kubelet would trust the report, and mount."""
        unique = unique_name(self.volume)
        for node in self.snapshot.objects("Node"):
            if name_of(node) not in self.holders and unique in volumes_attached(node):
                self._unreport(node)
        return bool(self.writes)

    def look_at(self, attachment: Object) -> None:
        node = attachment["spec"]["nodeName"]
        if self._settle_finalizer(attachment) or is_terminating(attachment):
            return
        if node in self.users:
            self._confirm(attachment, node)
            return
        release = self._may_release(attachment, node)
        if release.again_at is not None:
            self.again_at = min(release.again_at, self.again_at or release.again_at)
        if release.remember:
            body = {"metadata": {"annotations": {DETACH_REQUESTED_AT: format_time(self.now)}}}
            self.writes.append(Patch("VolumeAttachment", "", name_of(attachment), body, uid=uid_of(attachment)))
        if release.now:
            self._detach(attachment, node, forced=release.forced)

    def attach(self, node: str) -> None:
        """A volume that must be attached to a node that its pods are on."""
        pods = self.users[node]
        if node in self.holders or self.snapshot.get("Node", "", node) is None:
            return
        if is_terminating(self.volume):  # as the external attacher refuses: its data may be on the way out
            name = name_of(self.volume)
            text = f'AttachVolume.Attach failed for volume "{name}" : PersistentVolume "{name}" is marked for deletion'
            self.writes += [Record(pod, "Warning", "FailedAttachVolume", text) for pod in pods]
            return
        if self.holders and is_exclusive(self.volume):
            self.writes += [self._refusal(pod) for pod in pods]
            return
        self.holders.add(node)
        made = _attachment(self.volume, node, fences=self.fences)
        self.writes.append(Create(made, exists_ok=True))
        if not self.fences:
            self._mark_attached(name_of(made), node)

    def _settle_finalizer(self, attachment: Object) -> bool:
        """Whether the attachment was made under the other choice of `fences`, and must first be brought in line."""
        finalizer = attacher_finalizer(attachment["spec"]["attacher"])
        has_it = finalizer in finalizers_of(attachment)
        if has_it == self.fences or (self.fences and is_terminating(attachment)):
            return False
        if has_it:  # nobody takes disks away any more: nobody else would drop it
            self.writes.append(without_finalizer(attachment, finalizer))
        else:
            wanted = [*finalizers_of(attachment), finalizer]
            self.writes.append(Update({**attachment, "metadata": {**attachment["metadata"], "finalizers": wanted}}))
        return True

    def _confirm(self, attachment: Object, node: str) -> None:
        """What a crash, or a user, left undone; a pod came back while its volume waited to be detached."""
        if (attachment.get("status") or {}).get("attached"):
            self._report(node)
        elif not self.fences:
            self._mark_attached(name_of(attachment), node)
        if DETACH_REQUESTED_AT in annotations_of(attachment):
            body = {"metadata": {"annotations": {DETACH_REQUESTED_AT: None}}}
            self.writes.append(Patch("VolumeAttachment", "", name_of(attachment), body, uid=uid_of(attachment)))

    def _mark_attached(self, attachment: str, node: str) -> None:
        """The external attacher's part; where disks are fenced, it is another's (node/attacher.py)."""
        self._report(node)  # first: the kubelet waits for that one
        done = {"status": {"attached": True}}
        self.writes.append(Patch("VolumeAttachment", "", attachment, done, subresource="status"))

    def _report(self, node_name: str) -> None:
        """Tell the kubelet."""
        node = self.snapshot.get("Node", "", node_name)
        unique = unique_name(self.volume)
        if node is None or unique in volumes_attached(node):
            return
        body = {"status": {"volumesAttached": _listed({*volumes_attached(node), unique})}}
        text = f'AttachVolume.Attach succeeded for volume "{name_of(self.volume)}"'
        said = Record(self.users[node_name][0], "Normal", "SuccessfulAttachVolume", text)
        self.writes.append(Patch("Node", "", node_name, body, uid=uid_of(node), subresource="status", said=said))

    def _may_release(self, attachment: Object, node_name: str) -> _Release:
        """Nobody needs the volume there: has the node let go of it, and if not, how long is that waited for?"""
        node = self.snapshot.get("Node", "", node_name)
        if node is not None and unique_name(self.volume) not in volumes_in_use(node):
            return _Release(now=True)
        if node is not None and _is_out_of_service(node):
            return _Release(now=True, forced=True)
        if node is not None and condition_is_true(node, "Ready"):
            return _Release(now=False)
        if self.fences:
            return _Release(now=True, forced=True)
        asked_at = annotations_of(attachment).get(DETACH_REQUESTED_AT)
        if asked_at is None:
            return _Release(now=False, again_at=self.now + self.wait_seconds, remember=True)
        due = parse_time(asked_at) + self.wait_seconds
        return _Release(now=True, forced=True) if self.now >= due else _Release(now=False, again_at=due)

    def _unreport(self, node: Object) -> None:
        left = _listed({*volumes_attached(node)} - {unique_name(self.volume)})
        guard = {"resourceVersion": node["metadata"]["resourceVersion"]}
        body = {"metadata": guard, "status": {"volumesAttached": left or None}}
        self.writes.append(Patch("Node", "", name_of(node), body, uid=uid_of(node), subresource="status"))

    def _detach(self, attachment: Object, node_name: str, *, forced: bool) -> None:
        node = self.snapshot.get("Node", "", node_name)
        if node is not None and unique_name(self.volume) in volumes_attached(node):
            self._unreport(node)
        said = None
        if forced and not self.fences:
            text = (
                f'Volume "{name_of(self.volume)}" was detached from node "{node_name}" by force: the node did not '
                "confirm the unmount, and nothing keeps processes that still run there from writing to it"
            )
            said = Record(self.volume, "Warning", "ForcedDetach", text)
        self.writes.append(Delete("VolumeAttachment", "", name_of(attachment), uid=uid_of(attachment), said=said))
        if not finalizers_of(attachment):
            self.holders.discard(node_name)

    def _refusal(self, pod: Object) -> Record:
        """reportMultiAttachError; said again whenever it is still so."""
        others = [each for node, pods in self.users.items() if node in self.holders for each in pods]
        near = sorted(name_of(each) for each in others if namespace_of(each) == namespace_of(pod))
        why = "Volume is already exclusively attached to one node and can't be attached to another"
        if near:
            why = f"Volume is already used by pod(s) {', '.join(near)}"
        text = f'Multi-Attach error for volume "{name_of(self.volume)}" {why}'
        return Record(pod, "Warning", "FailedAttachVolume", text)


def _users(volume: Object, snapshot: Snapshot) -> dict[str, list[Object]]:
    """The pods that may use the volume, by their node."""
    reference = volume["spec"].get("claimRef") or {}
    claim = snapshot.get("PersistentVolumeClaim", reference.get("namespace", ""), reference.get("name", ""))
    if claim is None or not is_bound(claim) or claim["spec"]["volumeName"] != name_of(volume):
        return {}
    found: dict[str, list[Object]] = {}
    for pod in snapshot.objects("Pod", namespace_of(claim)):
        if uses_claim(pod, claim) and keeps_volumes(pod):
            found.setdefault(expected_node(pod), []).append(pod)
    return found


def _volume_that_was(attachment: Object) -> Object:
    """As much of a PersistentVolume that is gone as its attachments need to be released."""
    disk = {"driver": attachment["spec"]["attacher"], "volumeHandle": attached_disk(attachment)}
    meta = {"name": attached_volume(attachment)}
    return {"apiVersion": "v1", "kind": "PersistentVolume", "metadata": meta, "spec": {"csi": disk}}


def _attachment(volume: Object, node: str, *, fences: bool) -> Object:
    driver, handle = volume["spec"]["csi"]["driver"], volume["spec"]["csi"]["volumeHandle"]
    metadata: Object = {
        "name": attachment_name(volume, node),
        "annotations": {"csi.alpha.kubernetes.io/node-id": node, DISK_HANDLE: handle},
    }
    if fences:
        metadata["finalizers"] = [attacher_finalizer(driver)]
    return {
        "apiVersion": "storage.k8s.io/v1",
        "kind": "VolumeAttachment",
        "metadata": metadata,
        "spec": {"attacher": driver, "nodeName": node, "source": {"persistentVolumeName": name_of(volume)}},
    }


def _listed(names: Iterable[str]) -> list[Object]:
    return [{"name": name, "devicePath": ""} for name in sorted(names)]


def _of_pod(pod: Object, snapshot: Snapshot) -> Iterable[Key]:
    if not expected_node(pod):
        return
    for name in claim_names(pod):
        claim = snapshot.get("PersistentVolumeClaim", namespace_of(pod), name)
        if claim is not None and is_bound(claim) and not _is_settled(pod, claim, snapshot):
            yield "", claim["spec"]["volumeName"]


def _is_settled(pod: Object, claim: Object, snapshot: Snapshot) -> bool:
    """The pod still uses the volume, which is attached: most news of pods are about something else."""
    present = snapshot.get("Pod", namespace_of(pod), name_of(pod))
    volume = snapshot.get("PersistentVolume", "", claim["spec"]["volumeName"])
    if present is None or uid_of(present) != uid_of(pod) or volume is None:
        return False
    if not needs_attachment(volume):
        return True
    attachment = snapshot.get("VolumeAttachment", "", attachment_name(volume, expected_node(pod)))
    if attachment is None or is_terminating(attachment) or DETACH_REQUESTED_AT in annotations_of(attachment):
        return False
    return keeps_volumes(present) and bool((attachment.get("status") or {}).get("attached"))


def _of_claim(claim: Object, snapshot: Snapshot) -> Iterable[Key]:
    if is_bound(claim):
        yield "", claim["spec"]["volumeName"]


def _of_volume(volume: Object, snapshot: Snapshot) -> Iterable[Key]:
    if needs_attachment(volume):
        yield "", name_of(volume)


def _of_attachment(attachment: Object, snapshot: Snapshot) -> Iterable[Key]:
    yield "", attached_volume(attachment)


def _of_node(node: Object, snapshot: Snapshot) -> Iterable[Key]:
    """What is attached and in use on a healthy node is as it should be: nodes are written often."""
    is_there = snapshot.get("Node", "", name_of(node)) is not None
    settled = set(volumes_in_use(node)) & set(volumes_attached(node)) if is_there and _is_healthy(node) else set()
    for attachment in snapshot.objects("VolumeAttachment"):
        if attachment["spec"]["nodeName"] != name_of(node):
            continue
        volume = snapshot.get("PersistentVolume", "", attached_volume(attachment))
        if volume is None or unique_name(volume) not in settled:
            yield "", attached_volume(attachment)


def _is_healthy(node: Object) -> bool:
    return condition_is_true(node, "Ready") and not _is_out_of_service(node)


def _is_out_of_service(node: Object) -> bool:
    return any(each.get("key") == OUT_OF_SERVICE for each in taints_of(node))


def attach_detach_controller(*, fences: bool, time_scale: float = 1.0) -> Controller:
    """`fences`: somebody takes disks away from nodes that do not let go, and drops the finalizers when that is done.

    `time_scale`: how much shorter than Kubernetes' the wait for a node that does not let go is.
    """
    return Controller(
        component="attachdetach-controller",
        triggers={
            "PersistentVolume": _of_volume,
            "VolumeAttachment": _of_attachment,
            "Pod": _of_pod,
            "PersistentVolumeClaim": _of_claim,
            "Node": _of_node,
        },
        plan=partial(plan_volume, fences=fences, wait_seconds=MAX_WAIT_FOR_UNMOUNT_SECONDS / time_scale),
    )
