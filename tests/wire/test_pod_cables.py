"""A pod's stack as the kernel has it after a few requests in one packet (network/requests.py)."""

from __future__ import annotations

import errno
import fcntl
import os
import socket
import struct
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TypeVar

import pytest

from petset.cluster.network import requests, syscalls
from petset.cluster.network.addresses import OWN_PLAN
from petset.cluster.network.pod_stack import PodStack, PodWirer
from petset.cluster.network.requests import Requests
from tests.inside import FABRIC, needs_namespaces

pytestmark = needs_namespaces

ADDRESS = "10.244.3.9"
CABLE = "pod9"
GET_FLAGS, UP = 0x8913, 0x1

Result = TypeVar("Result")


def node_namespace() -> str:
    return f"{os.environ[FABRIC]}/node-3"


def on_the_node(work: Callable[[PodWirer], Result]) -> Result:
    """In a thread, which lives in the node's namespace from then on."""

    def run() -> Result:
        with closing(PodWirer(OWN_PLAN, 3, node_namespace())) as wirer:
            return work(wirer)

    with ThreadPoolExecutor(1) as thread:
        return thread.submit(run).result()


@contextmanager
def connected() -> Iterator[PodStack]:
    stack = on_the_node(lambda wirer: wirer.connect(ADDRESS))
    try:
        yield stack
    finally:
        on_the_node(lambda wirer: wirer.disconnect(stack))


def is_up(name: str) -> bool:
    """Of the interface of that name in this thread's namespace."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asker:
        answer = fcntl.ioctl(asker, GET_FLAGS, struct.pack("16sH14x", name.encode(), 0))
    return bool(struct.unpack("16sH14x", answer)[1] & UP)


def routes() -> set[tuple[str, int, int]]:
    """(interface, destination, gateway) of this thread's namespace, the numbers as proc(5) has them."""
    lines = Path("/proc/thread-self/net/route").read_text().splitlines()[1:]
    return {(name, int(to, 16), int(gateway, 16)) for name, to, gateway, *_ in map(str.split, lines)}


def number(address: str) -> int:
    return int(struct.unpack("=I", socket.inet_aton(address))[0])


def test_a_pod_has_its_address_a_way_out_and_a_localhost() -> None:
    with connected() as stack, syscalls.visiting(stack.paths["net"]):
        assert (is_up("lo"), is_up("eth0")) == (True, True)
        assert routes() == {("eth0", 0, number("10.244.3.1")), ("eth0", number("10.244.3.0"), 0)}
        with socket.socket() as line:
            line.bind((ADDRESS, 0))


def test_devices_that_the_kernel_puts_into_every_namespace_are_not_taken_for_the_cable(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """tunl0, sit0 and the like, where their modules are loaded: another cable stands for them here."""
    unshare = syscalls.unshare

    def crowded(flags: int) -> None:
        unshare(flags)
        here = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
        with closing(Requests()) as fresh:
            fresh.carry_out(
                requests.add_cable(
                    "tunl0", bridge=0, far_name="sit0", far_namespace=here, far_address="02:00:00:00:00:01"
                )
            )
        os.close(here)

    monkeypatch.setattr(syscalls, "unshare", crowded)
    with connected() as stack, syscalls.visiting(stack.paths["net"]):
        assert is_up("eth0")
        assert routes() == {("eth0", 0, number("10.244.3.1")), ("eth0", number("10.244.3.0"), 0)}


def test_a_cable_that_the_last_pod_of_that_address_left_is_replaced() -> None:
    with connected() as left, connected() as stack:
        with syscalls.visiting(left.paths["net"]):
            assert [name for _, name in socket.if_nameindex()] == ["lo"]
        with syscalls.visiting(stack.paths["net"]):
            assert is_up("eth0")


def test_what_a_pod_nested_in_its_shared_memory_is_gone_with_it() -> None:
    with connected() as stack:
        here = os.open(stack.shared_memory, os.O_RDONLY)
        for _ in range(sys.getrecursionlimit() + 50):
            os.mkdir("d", dir_fd=here)
            below = os.open("d", os.O_RDONLY, dir_fd=here)
            os.close(here)
            here = below
        os.close(here)
    assert not stack.shared_memory.exists()


def test_a_pod_that_was_disconnected_is_silent_though_its_processes_live() -> None:
    with connected() as stack:
        kept = os.open(stack.paths["net"], os.O_RDONLY)
    with syscalls.visiting(node_namespace()):
        assert not is_up(CABLE)
    os.close(kept)


def test_a_request_that_fails_is_told_and_those_behind_it_are_carried_out() -> None:
    with syscalls.visiting("/proc/thread-self/ns/net"):
        syscalls.unshare(syscalls.NEW_NETWORK)
        with closing(Requests()) as here:
            with pytest.raises(OSError, match="the network: No such device") as refused:
                here.carry_out(requests.remove("nothing"), requests.bring_up(1))
            assert (refused.value.errno, is_up("lo")) == (errno.ENODEV, True)
            with pytest.raises(OSError, match="No such device"):  # its own answer, not one that is left of those
                here.carry_out(requests.remove("nothing"))
