"""A history of volumes: claims, pods and volumes come and go, nodes fall silent, controllers die; nothing may be lost.

    watches (undelayed) ──▶ changes in the order of their revisions ──▶ Ledger: what must hold at every revision
    machines            ──▶ who runs with which disk, after every step

A seed is a history, as in cluster_history.py, whose troubles these are too.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from random import Random

from petset.cluster.api.attachments import (
    attached_volume,
    expected_node,
    is_attachable,
    is_exclusive,
    keeps_volumes,
    unique_name,
    volumes_in_use,
)
from petset.cluster.api.objects import Object, is_terminating, name_of, uid_of
from petset.cluster.api.volumes import BIND_COMPLETED
from petset.cluster.control.client import Client
from petset.cluster.errors import ApiError, NotFound
from tests.fakes.client import CuttableClient
from tests.fakes.unruly import Trouble, UnrulyClient
from tests.histories.cluster_promises import Change
from tests.local import Local, local_cluster

WATCHED = ("PersistentVolume", "PersistentVolumeClaim", "VolumeAttachment", "Pod")
CLAIMS = ("a", "b")
PODS = ("p", "q", "r", "s")
CLASSES = {"": None, "standard": None, "local": "WaitForFirstConsumer", "instant": "Immediate"}
PROVISIONERS = {"local": "rancher.io/local-path", "instant": "pd.csi.storage.gke.io"}
TAINT = {"key": "node.kubernetes.io/out-of-service", "value": "nodeshutdown", "effect": "NoExecute"}
SETTLING_SECONDS = 1500


@dataclass
class Ledger:
    """What the watches showed; `take` raises AssertionError when a change breaks a promise."""

    volume_of: dict[str, str] = field(default_factory=dict)
    """claim uid -> the volume that it was bound to first"""
    claims: dict[str, Object] = field(default_factory=dict)
    volumes: dict[str, Object] = field(default_factory=dict)
    attachments: dict[str, Object] = field(default_factory=dict)
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


class VolumeHistory:
    """One cluster, its users and its troubles."""

    def __init__(self, local: Local, random: Random, trouble: Trouble, kubelets: dict[str, CuttableClient]) -> None:
        self.local = local
        self.random = random
        self.trouble = trouble
        self.kubelets = kubelets
        self.ledger = Ledger()
        self.changes: list[Change] = []
        self.log: list[str] = []
        self._controllers_run = True
        self._excused: set[str] = set()
        """Uids of pods whose processes may outlive what objects say: forced away, or on a node that fell silent."""
        trouble.on_death = self._controllers_died

    async def follow(self, kind: str, ready: asyncio.Event) -> None:
        """Keep every change of a kind, until cancelled."""
        listing = await self.local.client.list(kind)
        async with self.local.client.watch(kind, revision=listing.revision) as events:
            ready.set()
            async for event in events:
                revision = int(event.object["metadata"]["resourceVersion"])
                obj = None if event.type == "DELETED" else event.object
                self.changes.append(Change(revision, 0.0, kind, name_of(event.object), obj))

    async def step(self) -> None:
        """One deed, and some time."""
        deed = self.random.choices(list(_DEEDS), [weight for weight, _ in _DEEDS.values()])[0]
        self.log.append(f"{asyncio.get_running_loop().time():8.2f}s  >> {deed}")
        with suppress(ApiError):
            await _DEEDS[deed][1](self)
        await asyncio.sleep(self.random.choice([0, 0.05, 0.5, 0.5, 2, 2, 10, 60]))
        await self.check()

    async def check(self) -> None:
        changes, self.changes = self.changes, []
        self.ledger.take(changes)
        holders: dict[str, str] = {}
        for node, machine in self.local.machines.items():
            running = {uid for uid, _ in machine.running_pods()} - self._excused
            for sandbox in await machine.list_sandboxes():
                for disk in filter(is_attachable, sandbox.volumes if sandbox.uid in running else ()):
                    assert holders.setdefault(disk, node) == node, f"{disk} is written on {holders[disk]} and {node}"

    # What users do

    async def create_claim(self) -> None:
        spec: Object = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
        spec["storageClassName"] = self.random.choices(list(CLASSES), weights=(1, 4, 1, 2))[0]
        metadata = {"name": self.random.choice(CLAIMS)}
        await self.local.apply(
            {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": metadata, "spec": spec}
        )

    async def delete_claim(self) -> None:
        await self.local.client.delete("PersistentVolumeClaim", self.random.choice(CLAIMS), "default")

    async def grow_claim(self) -> None:
        body = {"spec": {"resources": {"requests": {"storage": f"{self.random.randint(2, 9)}Gi"}}}}
        await self.local.client.patch("PersistentVolumeClaim", self.random.choice(CLAIMS), "default", body=body)

    async def create_volume(self) -> None:
        name = f"pv-{self.random.randint(1, 4)}"
        spec = {
            "capacity": {"storage": "1Gi"},
            "accessModes": ["ReadWriteOnce"],
            "persistentVolumeReclaimPolicy": self.random.choice(["Retain", "Delete", "Recycle"]),
            "hostPath": {"path": f"/tmp/{name}"},
        }
        await self.local.apply(
            {"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": name}, "spec": spec}
        )

    async def delete_volume(self) -> None:
        name = f"pv-{self.random.randint(1, 4)}"
        self.ledger.deleted_by_users.add(uid_of(await self.local.client.get("PersistentVolume", name)))
        await self.local.client.delete("PersistentVolume", name)

    async def free_volume(self) -> None:
        """What an administrator does with a Released volume."""
        name = f"pv-{self.random.randint(1, 4)}"
        if (await self.local.client.get("PersistentVolume", name))["status"]["phase"] == "Released":
            await self.local.client.patch("PersistentVolume", name, body={"spec": {"claimRef": None}})

    async def create_pod(self) -> None:
        volume = {"name": "data", "persistentVolumeClaim": {"claimName": self.random.choice(CLAIMS)}}
        container = {"name": "main", "image": "v1", "volumeMounts": [{"name": "data", "mountPath": "/data"}]}
        spec = {"containers": [container], "volumes": [volume], "terminationGracePeriodSeconds": 2}
        metadata = {"name": self.random.choice(PODS)}
        await self.local.apply({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec})

    async def delete_pod(self) -> None:
        await self.local.client.delete("Pod", self.random.choice(PODS), "default")

    async def force_delete_pod(self) -> None:
        pod = await self.local.client.get("Pod", self.random.choice(PODS), "default")
        self._excused.add(uid_of(pod))
        await self.local.client.delete("Pod", name_of(pod), "default", options={"gracePeriodSeconds": 0})

    async def taint_node(self) -> None:
        node = self.random.choice(list(self.local.machines))
        await self._excuse_pods_of(node)
        await self.local.client.patch("Node", node, body={"spec": {"taints": [TAINT]}})

    async def untaint_nodes(self) -> None:
        for node in self.local.machines:
            await self.local.client.patch("Node", node, body={"spec": {"taints": None}})

    # What befalls the cluster

    async def cut_node(self) -> None:
        node = self.random.choice(list(self.local.machines))
        await self._excuse_pods_of(node)
        self.kubelets[node].cut()

    async def mend_nodes(self) -> None:
        for client in self.kubelets.values():
            client.mend()

    async def _excuse_pods_of(self, node: str) -> None:
        self._excused |= {uid for uid, _ in self.local.machines[node].running_pods()}

    async def crash_controllers(self) -> None:
        if self._controllers_run:
            self.trouble.die_after(self.random.randint(0, 9))

    def _controllers_died(self) -> None:
        self._controllers_run = False
        self.local.cluster.crash_controllers()

    async def start_controllers(self) -> None:
        if not self._controllers_run:
            self._controllers_run = True
            self.local.cluster.start_controllers()

    # Rest

    async def settle(self) -> None:
        """Trouble ends: disks are attached exactly where pods run that use them, and nodes say so."""
        self.trouble.rest()
        await self.mend_nodes()
        await self.untaint_nodes()
        await self.start_controllers()
        for _ in range(SETTLING_SECONDS // 10):
            await asyncio.sleep(10)
            await self.check()
            if not (problem := await self._unsettled()):
                return
        raise AssertionError(f"not settled after {SETTLING_SECONDS} s: {problem}")

    async def _unsettled(self) -> str:
        wanted: set[tuple[str, str]] = set()
        for pod in (await self.local.client.list("Pod", "default")).items:
            with suppress(NotFound):
                wanted |= await self._disks_of(pod)
        found = {(attached_volume(each), each["spec"]["nodeName"]) for each in self.ledger.attachments.values()}
        # Pods of two nodes may want one disk: then one of the nodes has it.
        if not found <= wanted or {volume for volume, _ in found} != {volume for volume, _ in wanted}:
            return f"attached {found}, used {wanted}"
        for node in (await self.local.client.list("Node")).items:
            sandboxes = await self.local.machines[name_of(node)].list_sandboxes()
            used = {disk for each in sandboxes for disk in each.volumes if is_attachable(disk)}
            awaited = {unique_name(self.ledger.volumes[volume]) for volume, on in wanted if on == name_of(node)}
            if not used <= set(volumes_in_use(node)) <= used | awaited:
                return f"{name_of(node)} uses {used} and says {volumes_in_use(node)}"
        return ""

    async def _disks_of(self, pod: Object) -> set[tuple[str, str]]:
        """(volume, node) of a pod's network disk."""
        claim_name = next(
            (each["persistentVolumeClaim"]["claimName"] for each in pod["spec"]["volumes"]
             if "persistentVolumeClaim" in each), "",
        )  # fmt: skip
        if not claim_name or not keeps_volumes(pod):
            return set()
        claim = await self.local.client.get("PersistentVolumeClaim", claim_name, "default")
        volume = self.ledger.volumes.get(claim["spec"].get("volumeName", ""))
        return {(name_of(volume), expected_node(pod))} if volume and "csi" in volume["spec"] else set()


_DEEDS: dict[str, tuple[int, Callable[[VolumeHistory], Awaitable[None]]]] = {
    "create claim": (10, VolumeHistory.create_claim),
    "delete claim": (1, VolumeHistory.delete_claim),
    "grow claim": (2, VolumeHistory.grow_claim),
    "create volume": (5, VolumeHistory.create_volume),
    "delete volume": (1, VolumeHistory.delete_volume),
    "free volume": (2, VolumeHistory.free_volume),
    "create pod": (20, VolumeHistory.create_pod),
    "delete pod": (12, VolumeHistory.delete_pod),
    "force": (3, VolumeHistory.force_delete_pod),
    "taint": (1, VolumeHistory.taint_node),
    "untaint": (4, VolumeHistory.untaint_nodes),
    "cut": (2, VolumeHistory.cut_node),
    "mend": (4, VolumeHistory.mend_nodes),
    "crash controllers": (2, VolumeHistory.crash_controllers),
    "start controllers": (10, VolumeHistory.start_controllers),
}


@asynccontextmanager
async def volume_history(seed: int) -> AsyncIterator[VolumeHistory]:
    """A cluster of two nodes with the seed's kind of trouble."""
    random = Random(seed)
    trouble, kubelets = Trouble(random), dict[str, CuttableClient]()

    def link(component: str, client: Client) -> Client:
        if component == "controllers":
            return UnrulyClient(client, trouble)
        return kubelets.setdefault(component.removeprefix("kubelet "), CuttableClient(client))

    async with local_cluster(2, link=link) as local:
        it = VolumeHistory(local, random, trouble, kubelets)
        signs = {kind: asyncio.Event() for kind in WATCHED}
        followers = [asyncio.create_task(it.follow(kind, ready)) for kind, ready in signs.items()]
        for ready in signs.values():
            await ready.wait()
        for name, provisioner in PROVISIONERS.items():
            await local.apply(_storage_class(name, provisioner))
        trouble.conflicts = random.choice([0.0, 0.05])
        trouble.lost_answers = random.choice([0.0, 0.03])
        trouble.lag_seconds = random.choice([0.0, 0.2, 3.0])
        try:
            yield it
        finally:
            for task in followers:
                task.cancel()
            await asyncio.gather(*followers, return_exceptions=True)


def _storage_class(name: str, provisioner: str) -> Object:
    return {
        "apiVersion": "storage.k8s.io/v1",
        "kind": "StorageClass",
        "metadata": {"name": name},
        "provisioner": provisioner,
        "volumeBindingMode": CLASSES[name],
        "allowVolumeExpansion": True,
    }
