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
import socket
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from petset.cluster.network import requests, syscalls
from petset.cluster.network.addresses import AddressPlan
from petset.cluster.network.fabric import POD_BRIDGE, UPLINK, gateway_of, hardware_address, without_ipv6
from petset.cluster.network.requests import Requests
from petset.cluster.trees import remove_tree

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
    on."""

    def __init__(self, plan: AddressPlan, number: int, node_namespace: str) -> None:
        syscalls.enter_path(node_namespace, syscalls.NEW_NETWORK)
        self._gateway = gateway_of(plan, number)
        self._prefix_length = plan.pod_range(number).prefixlen
        self._node = Requests()
        self._bridge = socket.if_nametoindex(POD_BRIDGE)
        self._shared_memory = Path(node_namespace).with_name(f"shared-memory-{number}")
        _remove(self._shared_memory)
        self._shared_memory.mkdir()

    def close(self) -> None:
        self._node.close()

    def connect(self, address: str) -> PodStack:
        """Raises OSError, and leaves nothing behind."""
        with ExitStack() as undo:
            descriptors = undo.enter_context(ExitStack())
            own = {kind: _open_own(kind, undo) for kind in _KINDS}
            try:
                syscalls.unshare(sum(_KINDS.values()))
                pod = {kind: _open_own(kind, descriptors) for kind in _KINDS}
                without_ipv6()
                shared_memory = self._make_shared_memory(address, descriptors)
                cable = self._plug_in(pod["net"], address)
                self._configure(address)
            finally:
                for kind, descriptor in own.items():
                    syscalls.enter(descriptor, _KINDS[kind])
            paths = {kind: f"/proc/{os.getpid()}/fd/{descriptor}" for kind, descriptor in pod.items()}
            return PodStack(paths, descriptors.pop_all(), cable, shared_memory)

    def disconnect(self, stack: PodStack) -> None:
        """Silent at once, for the address may be another pod's in a moment; the kernel removes the rest in its time."""
        try:
            with _may_be_gone():
                self._node.carry_out(requests.bring_down(stack.cable))
        finally:
            stack.descriptors.close()

    def _make_shared_memory(self, address: str, resources: ExitStack) -> Path:
        folder = self._shared_memory / address
        _remove(folder)
        folder.mkdir()
        folder.chmod(0o1777)
        resources.callback(_remove, folder)
        return folder

    def _plug_in(self, pod: int, address: str) -> str:
        cable = pod_cable(int(address.rpartition(".")[2]))
        join = requests.add_cable(
            cable, bridge=self._bridge, far_name=UPLINK, far_namespace=pod, far_address=hardware_address(address)
        )
        # A pod that a service sends to itself is reached through the port that it came in by.
        reflect = requests.reflect(cable)
        try:
            self._node.carry_out(join, reflect)
        except FileExistsError:  # what is left of the last pod here; rare, takes 20 ms
            with _may_be_gone():
                self._node.carry_out(requests.remove(cable))
            self._node.carry_out(join, reflect)
        return cable

    def _configure(self, address: str) -> None:
        """In the pod's namespace, where this thread is."""
        uplink = socket.if_nametoindex(UPLINK)  # not always 2: some kernels put devices into every namespace
        with closing(Requests()) as pod:
            pod.carry_out(
                requests.bring_up(_LOOPBACK_INDEX),
                requests.bring_up(uplink),
                requests.add_address(uplink, address, self._prefix_length),
                requests.add_default_route(self._gateway),
            )


def _remove(folder: Path) -> None:
    """As far as possible."""
    with suppress(OSError):
        remove_tree(folder)


@contextmanager
def _may_be_gone() -> Iterator[None]:
    """What is asked for is no error where the kernel was faster."""
    try:
        yield
    except OSError as error:
        if error.errno != errno.ENODEV:
            raise


def pod_cable(number: int) -> str:
    """The node's end of the cable of the pod whose address ends in this number."""
    return f"pod{number}"


def _open_own(kind: str, resources: ExitStack) -> int:
    """This thread's namespace of a kind."""
    descriptor = os.open(f"/proc/thread-self/ns/{kind}", os.O_RDONLY | os.O_CLOEXEC)
    resources.callback(os.close, descriptor)
    return descriptor
