"""The cables of a datacenter: what joins the machines of a cluster, made once before any of them starts.

    control plane (the enclosure's own namespace)                namespace of node N: <folder>/node-N
      bridge `fabric` 172.18.255.254/16 ── veth `node-N` ═══ `eth0` 172.18.0.N/16
      routes 10.244.N.0/24 via 172.18.0.N                        default route via 172.18.255.254
      on `lo`: 10.96.0.10 cluster DNS; 172.18.255.253, .252      bridge `pods` 10.244.N.1/24
      for what controllers and DNS ask the API server            every 10.96.0.0/12 address is local: the service
                                                                 proxy answers on them; DNS alone is routed on

A namespace is kept by a file that it is mounted on, not by a process: a machine may die and boot again on the same
cables, and a cable that is cut stays cut. Everything goes with the enclosure.

Packets from node to node pass the control plane as a router. Hardware addresses follow from IP addresses, so that a
pod which comes back is not hidden behind a neighbour's memory of its old one. Netlink through pyroute2, which must
not be called on a thread with a running event loop.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from ipaddress import IPv4Address
from pathlib import Path

from pyroute2 import IPRoute

from petset.cluster.network import syscalls
from petset.cluster.network.addresses import AddressPlan
from petset.cluster.network.netlink import open_routes

FABRIC = "fabric"
POD_BRIDGE = "pods"
UPLINK = "eth0"

_LOCAL_TABLE = 255
_LOOPBACK_INDEX = 1


def node_namespace(folder: Path, number: int) -> Path:
    """Where the network namespace of node N is kept."""
    return folder / f"node-{number}"


def node_cable(number: int) -> str:
    """The control plane's end of node N's cable."""
    return f"node-{number}"


def build_fabric(plan: AddressPlan, folder: Path, *, node_count: int) -> None:
    """Wire the control plane and its nodes. Call in an enclosure, on any thread. Raises OSError, NetlinkError."""
    folder.mkdir(exist_ok=True)
    syscalls.mount("namespaces", str(folder), "tmpfs", syscalls.NO_SET_UID | syscalls.NO_EXEC, "mode=0700")
    with open_routes() as control_plane:
        _wire_control_plane(control_plane, plan)
        for number in range(1, node_count + 1):
            _wire_node(control_plane, plan, folder, number)


def _wire_control_plane(control_plane: IPRoute, plan: AddressPlan) -> None:
    _forward_packets()
    bridge = add_bridge(control_plane, FABRIC, plan.control_plane_address)
    control_plane.addr("add", index=bridge, address=plan.control_plane_address, prefixlen=plan.nodes.prefixlen)
    for address in (plan.dns_address, plan.controller_address, plan.dns_client_address):
        control_plane.addr("add", index=_LOOPBACK_INDEX, address=address, prefixlen=32)


def _wire_node(control_plane: IPRoute, plan: AddressPlan, folder: Path, number: int) -> None:
    place = node_namespace(folder, number)
    place.touch()
    with _new_namespace(place) as descriptor:
        cable = {"ifname": UPLINK, "net_ns_fd": descriptor, "address": hardware_address(plan.node_address(number))}
        fabric = index_of(control_plane, FABRIC)
        control_plane.link("add", ifname=node_cable(number), kind="veth", state="up", master=fabric, peer=cable)
    with syscalls.visiting(str(place)):
        _forward_packets()
        with open_routes() as node:
            _configure_node(node, plan, number)
    control_plane.route("add", dst=str(plan.pod_range(number)), gateway=plan.node_address(number))


def _configure_node(node: IPRoute, plan: AddressPlan, number: int) -> None:
    node.link("set", index=_LOOPBACK_INDEX, state="up")
    uplink = index_of(node, UPLINK)
    node.link("set", index=uplink, state="up")
    node.addr("add", index=uplink, address=plan.node_address(number), prefixlen=plan.nodes.prefixlen)
    node.route("add", dst="default", gateway=plan.control_plane_address)
    gateway = gateway_of(plan, number)
    pods = add_bridge(node, POD_BRIDGE, gateway)
    node.addr("add", index=pods, address=gateway, prefixlen=plan.pod_range(number).prefixlen)
    node.route("add", dst=str(plan.services), type="local", oif=_LOOPBACK_INDEX, scope="host", table=_LOCAL_TABLE)
    node.route("add", dst=f"{plan.dns_address}/32", gateway=plan.control_plane_address, table=_LOCAL_TABLE)


def add_bridge(namespace: IPRoute, name: str, address: str) -> int:
    """A bridge that is up; its index. With a hardware address of its own: else it would take its ports'."""
    namespace.link("add", ifname=name, kind="bridge", address=hardware_address(address), state="up")
    return index_of(namespace, name)


def index_of(namespace: IPRoute, name: str) -> int:
    """The index of an interface. Raises LookupError."""
    found = namespace.link_lookup(ifname=name)
    if not found:
        raise LookupError(f"no network interface {name}")
    return int(found[0])


def gateway_of(plan: AddressPlan, number: int) -> str:
    """Node N's own address on the bridge of its pods."""
    return str(plan.pod_range(number).network_address + 1)


def hardware_address(address: str) -> str:
    """A locally administered MAC address that belongs to an IPv4 address."""
    return "0a:58:" + ":".join(f"{byte:02x}" for byte in IPv4Address(address).packed)


@contextmanager
def _new_namespace(place: Path) -> Iterator[int]:
    """The descriptor of a fresh network namespace, mounted on a file."""
    with syscalls.visiting("/proc/thread-self/ns/net"):  # which brings this thread back
        syscalls.unshare(syscalls.NEW_NETWORK)
        syscalls.mount("/proc/thread-self/ns/net", str(place), "", syscalls.BIND)
    descriptor = os.open(place, os.O_RDONLY | os.O_CLOEXEC)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def without_ipv6() -> None:
    """Interfaces that this thread's namespace gets from now on are IPv4's alone; `::1` and sockets on `::` remain.

    Each would tell all others on its bridge of its link-local address, which nobody uses: a node's hundredth pod would
    cost more than its first.
    """
    with suppress(FileNotFoundError):  # a kernel without IPv6
        Path("/proc/sys/net/ipv6/conf/default/disable_ipv6").write_text("1")


def _forward_packets() -> None:
    """This thread's namespace routes packets, and tells nobody of shorter ways that a cut could not reach."""
    without_ipv6()
    for name, value in (("ip_forward", "1"), ("conf/all/send_redirects", "0"), ("conf/default/send_redirects", "0")):
        Path("/proc/sys/net/ipv4", name).write_text(value)
