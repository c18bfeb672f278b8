"""One pod's own network, UTS and IPC namespaces, its shared memory, and its cable to the bridge of its node.

    node's namespace: bridge `pods` ── veth `pod<X>` ═══ `eth0` 10.244.N.X/24, default route via 10.244.N.1 :pod

The namespaces are kept by descriptors of the process that made them, and by the pod's processes: when both are gone,
by whatever death, the kernel removes them and the cable. Processes enter by path (/proc/<pid>/fd/<number>).

POSIX shared memory is files: a folder per pod on the fabric's tmpfs, in memory, without device files or programs. What
a killed machine leaves there its next life removes.
"""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from pyroute2.netlink.exceptions import NetlinkError

from petset.cluster.network import syscalls
from petset.cluster.network.addresses import AddressPlan
from petset.cluster.network.fabric import POD_BRIDGE, UPLINK, gateway_of, hardware_address, index_of
from petset.cluster.network.netlink import open_routes

_KINDS = {"net": syscalls.NEW_NETWORK, "uts": syscalls.NEW_UTS, "ipc": syscalls.NEW_IPC}
_LOOPBACK_INDEX = 1


@dataclass(frozen=True)
class PodStack:
    """A connected pod. `paths` are of its namespaces; closing `descriptors` lets go of them, and of its memory."""

    paths: Mapping[str, str]
    descriptors: ExitStack
    cable: str
    shared_memory: Path


class PodWirer:
    """Connects pods to one node. All calls must come from one thread, which lives in the node's namespace from then
    on and has no event loop."""

    def __init__(self, plan: AddressPlan, number: int, node_namespace: str) -> None:
        syscalls.enter_path(node_namespace, syscalls.NEW_NETWORK)
        self._plan = plan
        self._number = number
        self._open = ExitStack()
        self._node = self._open.enter_context(open_routes())
        self._bridge = index_of(self._node, POD_BRIDGE)
        self._shared_memory = Path(node_namespace).with_name(f"shared-memory-{number}")
        shutil.rmtree(self._shared_memory, ignore_errors=True)
        self._shared_memory.mkdir()

    def close(self) -> None:
        self._open.close()

    def connect(self, address: str) -> PodStack:
        """Raises OSError, and leaves nothing behind."""
        with ExitStack() as undo:
            descriptors = undo.enter_context(ExitStack())
            own = {kind: _open_own(kind, undo) for kind in _KINDS}
            try:
                syscalls.unshare(sum(_KINDS.values()))
                pod = {kind: _open_own(kind, descriptors) for kind in _KINDS}
                shared_memory = self._make_shared_memory(address, descriptors)
                cable = self._plug_in(pod["net"], address)
                self._configure(address)
            except NetlinkError as error:
                raise OSError(error.code, f"the pod's network: {error}") from error
            finally:
                for kind, descriptor in own.items():
                    syscalls.enter(descriptor, _KINDS[kind])
            paths = {kind: f"/proc/{os.getpid()}/fd/{descriptor}" for kind, descriptor in pod.items()}
            return PodStack(paths, descriptors.pop_all(), cable, shared_memory)

    def disconnect(self, stack: PodStack) -> None:
        """Silent at once, for the address may be another pod's in a moment; the kernel removes the rest in its time."""
        try:
            for index in self._node.link_lookup(ifname=stack.cable):
                self._node.link("set", index=index, state="down")
        except NetlinkError as error:
            if error.code != errno.ENODEV:
                raise OSError(error.code, f"the pod's network: {error}") from error
        finally:
            stack.descriptors.close()

    def _make_shared_memory(self, address: str, resources: ExitStack) -> Path:
        folder = self._shared_memory / address
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        folder.chmod(0o1777)
        resources.callback(shutil.rmtree, folder, ignore_errors=True)
        return folder

    def _plug_in(self, pod: int, address: str) -> str:
        cable = pod_cable(int(address.rpartition(".")[2]))
        for index in self._node.link_lookup(ifname=cable):  # what is left of the last pod here; rare, takes 20 ms
            try:
                self._node.link("del", index=index)
            except NetlinkError as error:
                if error.code != errno.ENODEV:  # else the kernel was faster
                    raise
        peer = {"ifname": UPLINK, "net_ns_fd": pod, "address": hardware_address(address)}
        self._node.link("add", ifname=cable, kind="veth", state="up", master=self._bridge, peer=peer)
        # A pod that a service sends to itself is reached through the port that it came in by.
        self._node.brport("set", index=index_of(self._node, cable), mode=1)
        return cable

    def _configure(self, address: str) -> None:
        """In the pod's namespace, where this thread is."""
        with open_routes() as pod:
            uplink = index_of(pod, UPLINK)
            pod.link("set", index=_LOOPBACK_INDEX, state="up")
            pod.link("set", index=uplink, state="up")
            prefix_length = self._plan.pod_range(self._number).prefixlen
            pod.addr("add", index=uplink, address=address, prefixlen=prefix_length)
            pod.route("add", dst="default", gateway=gateway_of(self._plan, self._number))


def pod_cable(number: int) -> str:
    """The node's end of the cable of the pod whose address ends in this number."""
    return f"pod{number}"


def _open_own(kind: str, resources: ExitStack) -> int:
    """This thread's namespace of a kind."""
    descriptor = os.open(f"/proc/thread-self/ns/{kind}", os.O_RDONLY | os.O_CLOEXEC)
    resources.callback(os.close, descriptor)
    return descriptor
