"""What must hold of claims, volumes and attachments at every revision, whatever happens to the cluster.

    a claim's volume never changes                   no volume is bound twice, or goes from one claim to another
    no volume goes before its claim                  one that is to be kept is deleted by users only
    an exclusive disk is attached to one node

Changes are taken in the order of their revisions, whatever order the watches told them in.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from petset.cluster.api.attachments import attached_volume, is_exclusive, unique_name
from petset.cluster.api.objects import Object, is_terminating, name_of, uid_of
from petset.cluster.api.volumes import BIND_COMPLETED, claim_names
from tests.histories.cluster_promises import Change


@dataclass
class Ledger:
    """What the watches showed; `take` raises AssertionError when a change breaks a promise."""

    volume_of: dict[str, str] = field(default_factory=dict)
    """claim uid -> the volume that it was bound to first"""
    claims: dict[str, Object] = field(default_factory=dict)
    volumes: dict[str, Object] = field(default_factory=dict)
    attachments: dict[str, Object] = field(default_factory=dict)
    pods: dict[str, Object] = field(default_factory=dict)
    deleted_by_users: set[str] = field(default_factory=set)
    """Uids of volumes."""

    def take(self, changes: list[Change]) -> None:
        for change in sorted(changes, key=lambda each: each.revision):
            match change.kind:
                case "PersistentVolumeClaim":
                    self._take_claim(change)
                case "PersistentVolume":
                    self._take_volume(change)
                case "VolumeAttachment":
                    self._take_attachment(change)
                case "Pod":
                    self.pods.pop(change.name, None)
                    if change.object is not None:
                        self.pods[change.name] = change.object

    def claim_of(self, pod_uid: str, unique: str) -> str:
        """The uid of the claim through which a pod has a volume; "" when that cannot be said any more."""
        pod = next((each for each in self.pods.values() if uid_of(each) == pod_uid), None)
        for claim in (self.claims.get(name) for name in (claim_names(pod) if pod else ())):
            volume = self.volumes.get(claim["spec"].get("volumeName", "")) if claim else None
            if claim and volume and unique_name(volume) == unique:
                return uid_of(claim)
        return ""

    def _take_claim(self, change: Change) -> None:
        claim = change.object
        if claim is None:
            self.claims.pop(change.name, None)
            return
        self.claims[change.name] = claim
        if BIND_COMPLETED not in (claim["metadata"].get("annotations") or {}):
            return
        first = self.volume_of.setdefault(uid_of(claim), claim["spec"]["volumeName"])
        assert claim["spec"].get("volumeName") == first, f"claim {change.name} went from {first} to another volume"
        others = [uid for uid, volume in self.volume_of.items() if volume == first and uid != uid_of(claim)]
        living = {uid_of(each) for each in self.claims.values()}
        assert not living & {*others}, f"{first} is bound twice"

    def _take_volume(self, change: Change) -> None:
        old, new = self.volumes.get(change.name), change.object
        if new is None:
            self.volumes.pop(change.name, None)
            holders = [name for name, each in self.claims.items() if each["spec"].get("volumeName") == change.name]
            assert not holders, f"{change.name} went under claim {holders}"
            return
        self.volumes[change.name] = new
        if is_terminating(new) and new["spec"]["persistentVolumeReclaimPolicy"] != "Delete":
            assert uid_of(new) in self.deleted_by_users, f"{change.name} was to be kept"
        owners = [(each["spec"].get("claimRef") or {}).get("uid") for each in (old, new) if each]
        if len(owners) == 2 and all(owners) and old and uid_of(old) == uid_of(new):
            assert owners[0] == owners[1], f"{change.name} went from one claim to another"

    def _take_attachment(self, change: Change) -> None:
        if change.object is None:
            self.attachments.pop(change.name, None)
            return
        self.attachments[change.name] = change.object
        volume = self.volumes.get(attached_volume(change.object))
        if volume is not None and is_exclusive(volume):
            nodes = [name for name, each in self.attachments.items() if attached_volume(each) == name_of(volume)]
            assert len(nodes) == 1, f"{name_of(volume)} is attached to {len(nodes)} nodes"
