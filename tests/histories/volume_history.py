"""A history of volumes: claims, pods and volumes come and go, nodes fall silent, controllers die; nothing may be lost.

    watches (undelayed) ──▶ changes in the order of their revisions ──▶ Ledger: what must hold at every revision
    machines            ──▶ who runs with which disk, after every step
    disks               ──▶ what was written for a claim is read by whoever has it next, and stays where it is kept

A seed is a history (life.py). Disks are folders, and the real disk driver removes them (disk_contents.py).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from random import Random

from petset.cluster.api.attachments import (
    attached_volume,
    expected_node,
    is_attachable,
    keeps_volumes,
    unique_name,
    volumes_in_use,
)
from petset.cluster.api.objects import Object, is_terminating, name_of, uid_of
from petset.cluster.clock import LoopClock
from petset.cluster.control.client import Client
from petset.cluster.errors import NotFound
from petset.cluster.node.disk_driver import DiskDriver
from tests.fakes.client import CuttableClient
from tests.fakes.runtime import Program
from tests.fakes.unruly import Trouble, UnrulyClient
from tests.histories.disk_contents import Contents
from tests.histories.life import Deeds, Life
from tests.histories.volume_ledger import Ledger
from tests.local import Local, local_cluster

WATCHED = ("PersistentVolume", "PersistentVolumeClaim", "VolumeAttachment", "Pod")
CLAIMS = ("a", "b")
PODS = ("p", "q", "r", "s")
CLASSES = {"": 3, "standard": 4, "local": 1, "instant": 2, "kept": 3}
"""name -> weight"""
MADE_CLASSES = (
    ("local", "rancher.io/local-path", "WaitForFirstConsumer", "Delete"),
    ("instant", "pd.csi.storage.gke.io", "Immediate", "Delete"),
    ("kept", "pd.csi.storage.gke.io", "Immediate", "Retain"),
)
TAINT = {"key": "node.kubernetes.io/out-of-service", "value": "nodeshutdown", "effect": "NoExecute"}
SETTLING_SECONDS = 1500


class VolumeHistory(Life):
    """One cluster, its users and its troubles."""

    def __init__(
        self, local: Local, random: Random, trouble: Trouble, kubelets: dict[str, CuttableClient], volumes: Path
    ) -> None:
        super().__init__(local, random, trouble, [])
        self.kubelets = kubelets
        self.ledger = Ledger()
        self.contents = Contents(volumes)
        self._kept: set[tuple[str, Path]] = set()
        """(claim uid, folder) of provisioned volumes whose data no machinery may ever remove."""
        self._driver = self._new_driver()
        self._excused: set[str] = set()
        """Uids of pods whose processes may outlive what objects say: forced away, or on a node that fell silent."""
        for machine in local.machines.values():
            machine.programs["busybox"] = Program(exits_after_seconds=1.0)
            machine.on_sandbox = self.contents.mount

    def _new_driver(self) -> asyncio.Task[None]:
        """The disk driver lives with the controllers."""
        client = UnrulyClient(self.local.client, self.trouble)
        return asyncio.create_task(DiskDriver(client, LoopClock(), self.contents.volumes).run())

    async def step(self) -> None:
        """One deed, and some time."""
        await self.do_one(_DEEDS)
        await asyncio.sleep(self.random.choice([0, 0.05, 0.5, 0.5, 2, 2, 10, 60]))
        await self.check()

    async def check(self) -> None:
        holders: dict[str, str] = {}
        present: set[str] = set()
        for node, machine in self.local.machines.items():
            running = {uid for uid, _ in machine.running_pods()} - self._excused
            for sandbox in await machine.list_sandboxes():
                present.add(sandbox.uid)
                for disk in filter(is_attachable, sandbox.volumes if sandbox.uid in running else ()):
                    assert holders.setdefault(disk, node) == node, f"{disk} is written on {holders[disk]} and {node}"
        self.ledger.take(self.news())
        self._check_disks()
        self._use_disks(present)

    def _check_disks(self) -> None:
        """Nothing is missing that was acknowledged to a claim that lives, or that was to be kept."""
        for volume in self.ledger.volumes.values():
            owner = (volume["spec"].get("claimRef") or {}).get("uid", "")
            lives = owner in {uid_of(each) for each in self.ledger.claims.values()}
            keeps = volume["spec"]["persistentVolumeReclaimPolicy"] == "Retain"
            if owner and (lives or keeps):
                self._holds(owner, self.contents.folder_of(volume))
            if owner and keeps and "csi" in volume["spec"]:
                self._kept.add((owner, self.contents.folder_of(volume)))
        for owner, folder in self._kept:
            self._holds(owner, folder)

    def _holds(self, claim_uid: str, folder: Path) -> None:
        lost = self.contents.lost(claim_uid, folder)
        assert not lost, f"{folder.name} of claim {claim_uid} has lost {sorted(lost)}"

    def _use_disks(self, present: set[str]) -> None:
        """Every pod that runs reads what its claim's holders wrote before, and writes something itself."""
        running = {uid for machine in self.local.machines.values() for uid, _ in machine.running_pods()}
        for pod in [*self.contents.mounted]:
            if pod.pod_uid not in present:
                self.contents.unmount(pod)
            elif pod.pod_uid in running and (claim_uid := self.ledger.claim_of(pod.pod_uid, pod.volume.persistent)):
                self._holds(claim_uid, pod.folder)
                foreign = pod.volume.kind == "disk" and self.contents.foreign(claim_uid, pod.folder)
                assert not foreign, f"the disk of claim {claim_uid} has {foreign}"
                self.contents.write(pod, claim_uid)

    # What users do

    async def create_claim(self) -> None:
        spec: Object = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
        spec["storageClassName"] = self.random.choices(list(CLASSES), weights=[*CLASSES.values()])[0]
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
        name = self.random.choice(sorted(self.ledger.volumes) or ["pv-1"])
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

    def controllers_died(self) -> None:
        super().controllers_died()
        self._driver.cancel()

    async def start_controllers(self) -> None:
        if not self._controllers_run:
            self._driver = self._new_driver()
        await super().start_controllers()

    async def end(self) -> None:
        self._driver.cancel()
        await asyncio.gather(self._driver, return_exceptions=True)
        for pod in [*self.contents.mounted]:
            self.contents.unmount(pod)

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
        # Pods of two nodes may want one disk: then one of them has it. One that is being deleted is given to nobody.
        attached = {volume for volume, _ in found}
        missing = [name for name, _ in wanted if name not in attached and not is_terminating(self.ledger.volumes[name])]
        if missing or not found <= wanted:
            return f"attached {found}, used {wanted}"
        for node in (await self.local.client.list("Node")).items:
            sandboxes = await self.local.machines[name_of(node)].list_sandboxes()
            used = {disk for each in sandboxes for disk in each.volumes if is_attachable(disk)}
            awaited = {unique_name(self.ledger.volumes[volume]) for volume, on in wanted if on == name_of(node)}
            if not used <= set(volumes_in_use(node)) <= used | awaited:
                return f"{name_of(node)} uses {used} and says {volumes_in_use(node)}"
        living = {uid_of(each) for each in self.ledger.claims.values()}
        going = [each for each in self.ledger.volumes.values() if is_terminating(each)]
        stuck = [name_of(each) for each in going if (each["spec"].get("claimRef") or {}).get("uid") not in living]
        if stuck:
            return f"{stuck} do not go"
        made = [each for each in self.ledger.claims.values() if each["spec"]["storageClassName"] in ("instant", "kept")]
        pending = [each for each in made if each["status"].get("phase") != "Bound" and not is_terminating(each)]
        return f"{[*map(name_of, pending)]} get no volume" if pending else ""

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


_DEEDS: Deeds = {
    "create claim": (10, VolumeHistory.create_claim),
    "delete claim": (3, VolumeHistory.delete_claim),
    "grow claim": (2, VolumeHistory.grow_claim),
    "create volume": (5, VolumeHistory.create_volume),
    "delete volume": (3, VolumeHistory.delete_volume),
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


async def removed_at_once(remove: Callable[..., None], *arguments: object) -> None:
    """In place of a thread, whose end no seed decides."""
    remove(*arguments)


@asynccontextmanager
async def volume_history(seed: int, volumes: Path) -> AsyncIterator[VolumeHistory]:
    """A cluster of two nodes with the seed's kind of trouble, whose disks are in the folder `volumes`."""
    random = Random(seed)
    trouble, kubelets = Trouble(random), dict[str, CuttableClient]()

    def link(component: str, client: Client) -> Client:
        if component == "controllers":
            return UnrulyClient(client, trouble)
        return kubelets.setdefault(component.removeprefix("kubelet "), CuttableClient(client))

    async with local_cluster(2, link=link) as local:
        it = VolumeHistory(local, random, trouble, kubelets, volumes)
        for made in MADE_CLASSES:
            await local.apply(_storage_class(*made))
        trouble.conflicts = random.choice([0.0, 0.05])
        trouble.lost_answers = random.choice([0.0, 0.03])
        trouble.lag_seconds = random.choice([0.0, 0.2, 3.0])
        async with it.watching(WATCHED):
            try:
                yield it
            finally:
                await it.end()


def _storage_class(name: str, provisioner: str, binding: str, policy: str) -> Object:
    return {
        "apiVersion": "storage.k8s.io/v1",
        "kind": "StorageClass",
        "metadata": {"name": name},
        "provisioner": provisioner,
        "volumeBindingMode": binding,
        "reclaimPolicy": policy,
        "allowVolumeExpansion": True,
    }
