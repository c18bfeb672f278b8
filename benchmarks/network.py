"""What a network and files of its own cost a pod, next to the loopback network.

    python -m benchmarks.network [--pods 30]

Everything is measured twice in one run, on the loopback network and in namespaces, with pods of one image (`kubia`):

- start: from the request to the first HTTP answer, one pod after another; burst: the same for all pods at once;
- removal: from the request until nothing of the pod is left (namespaces: the kernel removes the cable later);
- memory: proportional and private share of a pod's processes, with all pods alive;
- round trip: 64 bytes to a pod and back over one TCP connection, on one node and between two; throughput likewise;
- namespaces alone: connecting a pod, and injecting and healing faults.

What pods leave behind: leaks.py.

Medians are printed. Needs no privilege where unprivileged user namespaces are allowed.
"""

from __future__ import annotations

import argparse
import asyncio
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from statistics import median

import psutil

from petset.cluster.api.cri import ContainerSpec, SandboxSpec
from petset.cluster.clock import SystemClock
from petset.cluster.network import syscalls
from petset.cluster.network.addresses import OWN_PLAN, AddressPlan, loopback_plan
from petset.cluster.network.enclosure import Enclosure
from petset.cluster.network.loopback import LoopbackNetwork
from petset.cluster.network.namespaces import NamespacesNetwork
from petset.cluster.network.network import Network, PodNetwork
from petset.cluster.node.catalogue_files import load_catalogue
from petset.cluster.node.machine import Machine

PORT = 8080
ROUND_TRIPS = 5000
STREAM_BYTES = 512 * 1024 * 1024
PIECE = bytes(256 * 1024)
IMAGE = "luksa/kubia"


def show(what: str, value: str) -> None:
    print(f"  {what:<34}{value}", flush=True)


def milliseconds(seconds: list[float]) -> str:
    return f"{median(seconds) * 1e3:.1f} ms (best {min(seconds) * 1e3:.1f})"


# -- pods -----------------------------------------------------------------------------------------------------------


async def start_pod(machine: Machine, name: str) -> str:
    """Returns its address once it has answered."""
    sandbox = await machine.run_sandbox(SandboxSpec(f"uid-{name}", "default", name, hostname=name))
    await machine.start_container(sandbox.uid, ContainerSpec("main", IMAGE))
    loop = asyncio.get_running_loop()
    while True:
        with machine_socket(machine, sandbox.ip) as line:
            try:
                await loop.sock_connect(line, (sandbox.ip, PORT))
                await loop.sock_sendall(line, b"GET / HTTP/1.0\r\n\r\n")
                if (await loop.sock_recv(line, 100)).startswith(b"HTTP/1."):
                    return sandbox.ip
            except ConnectionError:
                await asyncio.sleep(0.0005)


def machine_socket(machine: Machine, address: str) -> socket.socket:
    return NETWORKS_OF[machine.name].make_socket(address)


NETWORKS_OF: dict[str, Network] = {}


async def measure_pods(network: Network, folder: Path, *, pods: int) -> None:
    NETWORKS_OF["node-1"] = network
    async with Machine(
        "node-1", folder=folder / "node-1", volumes=folder / "volumes", network=network,
        catalogue=load_catalogue(), clock=SystemClock(),
    ) as machine:  # fmt: skip
        await start_pod(machine, "first")
        starts, ends = [], []
        for number in range(pods):
            started = time.perf_counter()
            await start_pod(machine, f"one-{number}")
            starts.append(time.perf_counter() - started)
        show("start, one after another", milliseconds(starts))
        show_memory(machine)
        for number in range(pods):
            started = time.perf_counter()
            await machine.remove_sandbox(f"uid-one-{number}")
            ends.append(time.perf_counter() - started)
        show("removal, one after another", milliseconds(ends))
        started = time.perf_counter()
        await asyncio.gather(*(start_pod(machine, f"burst-{number}") for number in range(pods)))
        show(f"start, {pods} at once", f"{pods / (time.perf_counter() - started):.0f} pods/s")
        await asyncio.gather(*(machine.remove_sandbox(f"uid-burst-{number}") for number in range(pods)))


def show_memory(machine: Machine) -> None:
    shares, privates, count = 0, 0, 0
    for pod in psutil.Process(machine.warm_parent_pid).children():
        for process in (pod, *pod.children(recursive=True)):
            memory = process.memory_full_info()
            shares, privates = shares + memory.pss, privates + memory.uss
        count += 1
    show("memory per pod", f"{shares / count / 2**20:.1f} MiB proportional, {privates / count / 2**20:.1f} private")


NODE_NAMESPACE = ["/proc/self/ns/net"]

# -- packets --------------------------------------------------------------------------------------------------------


@contextmanager
def in_pod(place: PodNetwork) -> Iterator[None]:
    namespace = place.namespaces.get("net")
    with syscalls.visiting(namespace) if namespace else nullcontext():
        yield


@contextmanager
def connected(
    client: PodNetwork, server: PodNetwork, serve: Callable[[socket.socket], None]
) -> Iterator[socket.socket]:
    """A connection from one pod to another, where `serve` runs in a thread."""
    with in_pod(server):
        listener = socket.create_server((server.address, 0))
    with in_pod(client):
        line = socket.socket()
    line.bind((client.address, 0))
    line.connect(listener.getsockname())
    line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    accepted, _ = listener.accept()
    thread = threading.Thread(target=serve, args=(accepted,))
    thread.start()
    with listener, line, accepted:
        yield line
        line.shutdown(socket.SHUT_WR)
        thread.join()


def echo(line: socket.socket) -> None:
    line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    while data := line.recv(4096):
        line.sendall(data)


def swallow(line: socket.socket) -> None:
    while line.recv(1 << 20):
        continue


def measure_packets(where: str, client: PodNetwork, server: PodNetwork) -> None:
    took = []
    with connected(client, server, echo) as line:
        for _ in range(ROUND_TRIPS):
            started = time.perf_counter()
            line.sendall(bytes(64))
            line.recv(4096)
            took.append(time.perf_counter() - started)
    show(f"round trip {where}", f"{median(took) * 1e6:.0f} us")
    started = time.perf_counter()
    with connected(client, server, swallow) as line:
        for _ in range(STREAM_BYTES // len(PIECE)):
            line.sendall(PIECE)
    show(f"throughput {where}", f"{STREAM_BYTES / (time.perf_counter() - started) / 2**30:.2f} GiB/s")


async def measure_network(make: Callable[[int], Network]) -> None:
    one, two = make(1), make(2)
    here, neighbour, there = [
        await network.attach_pod(f"default/{name}") for network, name in ((one, "a"), (one, "b"), (two, "c"))
    ]
    await asyncio.to_thread(measure_packets, "on one node", here, neighbour)
    await asyncio.to_thread(measure_packets, "between two nodes", here, there)
    if here.namespaces:
        took, back = [], []
        for number in range(50):
            started = time.perf_counter()
            await one.attach_pod(f"default/more-{number}")
            took.append(time.perf_counter() - started)
        for number in range(50):
            started = time.perf_counter()
            await one.detach_pod(f"default/more-{number}")
            back.append(time.perf_counter() - started)
        show("connecting a pod", milliseconds(took))
        show("disconnecting it", milliseconds(back))
        await asyncio.to_thread(measure_faults, here.address, there.address)
    for network in (one, two):
        network.close()


def measure_faults(source: str, destination: str) -> None:
    from petset.cluster.network.faults import Faults

    faults = Faults(OWN_PLAN, Path(NODE_NAMESPACE[0]).parent)
    ends = (source, destination)
    calls: list[tuple[str, Callable[[], None]]] = [
        ("cut, both ways", lambda: faults.cut(*ends)),
        ("heal_cut", lambda: faults.heal_cut(*ends)),
        ("limit", lambda: faults.limit(*ends, kbit_per_second=1000)),
        ("heal_limit", lambda: faults.heal_limit(*ends)),
        ("cut of two nodes", lambda: faults.cut(faults.node(1), faults.node(2))),
        ("heal_all", faults.heal_all),
        ("cut_node", lambda: faults.cut_node(3)),
        ("heal_node", lambda: faults.heal_node(3)),
    ]
    took: dict[str, list[float]] = {}
    for _ in range(10):
        for name, call in calls:
            started = time.perf_counter()
            call()
            took.setdefault(name, []).append(time.perf_counter() - started)
    for name, seconds in took.items():
        show(f"fault: {name}", milliseconds(seconds))


# -- both -----------------------------------------------------------------------------------------------------------


def run(title: str, make: Callable[[int], Network], options: argparse.Namespace) -> None:
    print(title, flush=True)
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(measure_network(make))
        network = make(1)
        asyncio.run(measure_pods(network, Path(folder), pods=options.pods))
        network.close()


def loopback(options: argparse.Namespace) -> None:
    plan: AddressPlan = loopback_plan(59)
    run("loopback", lambda number: LoopbackNetwork(plan, number), options)


def namespaces(options: argparse.Namespace) -> int:
    from petset.cluster.network.fabric import build_fabric

    with tempfile.TemporaryDirectory() as folder:
        fabric = Path(folder) / "fabric"
        started = time.perf_counter()
        build_fabric(OWN_PLAN, fabric, node_count=3)
        NODE_NAMESPACE[0] = str(fabric / "node-1")
        print(f"fabric of 3 nodes: {(time.perf_counter() - started) * 1e3:.0f} ms")
        run("namespaces", lambda number: NamespacesNetwork(OWN_PLAN, number, fabric), options)
        syscalls.unmount_tree(str(fabric))
    return 0


def main() -> int:
    parser = argparse.ArgumentParser(description="Measure what namespaces cost.")
    parser.add_argument("--pods", type=int, default=30)
    options = parser.parse_args()
    enclosed = Enclosure.open(lambda: namespaces(options)).wait()  # first: it needs a process without threads
    loopback(options)
    return enclosed


if __name__ == "__main__":
    sys.exit(main())
