"""What a network and files of its own cost a pod, next to the loopback network.

    python -m benchmarks.network [--pods 30]

Everything is measured twice in one run, on the loopback network and in namespaces, with pods of one image (`kubia`):

- start: from the request to the first HTTP answer, one pod after another; burst: the same for BURST pods at once;
- memory: proportional and private share of a pod's processes, with all pods alive;
- processor time of a start, of all processes: what a busy machine cannot blur;
- each of them next to bare forks of the same program (bare_pods.py), by turns: their ratio is what a real machine
  costs. In namespaces the bare ones have namespaces too, and there is a second floor, with a network by pyroute2: the
  prototype that the design was measured on;
- removal: from the request until nothing of the pod is left (namespaces: the kernel removes the cable later);
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
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from pathlib import Path
from statistics import median

import psutil

from benchmarks.bare_pods import CONNECTED, ISOLATED, BarePods, bare_pods
from petset.cluster.api.cri import ContainerSpec, SandboxSpec
from petset.cluster.clock import SystemClock
from petset.cluster.network import syscalls
from petset.cluster.network.addresses import OWN_PLAN, AddressPlan, loopback_plan
from petset.cluster.network.enclosure import Enclosure
from petset.cluster.network.loopback import LoopbackNetwork
from petset.cluster.network.namespaces import NamespacesNetwork
from petset.cluster.network.network import Network, PodNetwork
from petset.cluster.node.catalogue_files import shipped_programs
from petset.cluster.node.images import Catalogue
from petset.cluster.node.machine import Machine

PORT = 8080
BURST = 40
LOOK_AGAIN_SECONDS = 0.0005
LOOK_AGAIN_IN_BURST_SECONDS = 0.01
"""BURST clients that ask without a pause would be most of the work."""
ROUND_TRIPS = 5000
STREAM_BYTES = 512 * 1024 * 1024
PIECE = bytes(256 * 1024)
IMAGE = "luksa/kubia"


def show(what: str, value: str) -> None:
    print(f"  {what:<34}{value}", flush=True)


def milliseconds(seconds: list[float]) -> str:
    return f"{median(seconds) * 1e3:.1f} ms (best {min(seconds) * 1e3:.1f})"


# -- pods -----------------------------------------------------------------------------------------------------------


@dataclass
class Kind:
    """One way to start pods, whose processes are below `parent_pid`, and what it takes.

    `processor_seconds` are of all processes, this one included, which asks for answers.
    """

    name: str
    start: Callable[[float], Awaitable[None]]
    parent_pid: int
    seconds: list[float] = field(default_factory=list)
    processor_seconds: float = 0.0
    per_second: float = 0.0

    @property
    def milliseconds_of_processor(self) -> float:
        return self.processor_seconds / len(self.seconds) * 1e3

    async def start_one(self) -> None:
        started, used = time.perf_counter(), time.process_time()
        await self.start(LOOK_AGAIN_SECONDS)
        self.seconds.append(time.perf_counter() - started)
        self.processor_seconds += time.process_time() - used

    async def start_many(self) -> None:
        started = time.perf_counter()
        await asyncio.gather(*(self.start(LOOK_AGAIN_IN_BURST_SECONDS) for _ in range(BURST)))
        self.per_second = BURST / (time.perf_counter() - started)


async def measure_starts(kinds: Sequence[Kind], pods: int) -> None:
    """By turns, so that a busy machine meets each alike; the pods live on."""
    for kind in kinds:
        await kind.start(LOOK_AGAIN_SECONDS)
        kind.processor_seconds -= processor_seconds_below(kind.parent_pid)
    for _ in range(pods):
        for kind in kinds:
            await kind.start_one()
    for kind in kinds:
        kind.processor_seconds += processor_seconds_below(kind.parent_pid)


def processor_seconds_below(parent_pid: int) -> float:
    """What everything from `parent_pid` down has used, of those that live, exactly (schedstat)."""
    pids = [parent_pid, *(each.pid for each in psutil.Process(parent_pid).children(recursive=True))]
    tasks = [task for pid in pids for task in Path(f"/proc/{pid}/task").iterdir()]
    return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9


def memory_below(parent_pid: int) -> tuple[float, float]:
    """MiB of a pod: its proportional and its private share."""
    shares, privates, count = 0, 0, 0
    for pod in psutil.Process(parent_pid).children():
        for process in (pod, *pod.children(recursive=True)):
            memory = process.memory_full_info()
            shares, privates = shares + memory.pss, privates + memory.uss
        count += 1
    return shares / count / 2**20, privates / count / 2**20


async def answered(network: Network, address: str, look_again_seconds: float) -> None:
    """Asks until there is an answer."""
    loop = asyncio.get_running_loop()
    while True:
        with network.make_socket(address) as line:
            try:
                await loop.sock_connect(line, (address, PORT))
                await loop.sock_sendall(line, b"GET / HTTP/1.0\r\n\r\n")
                if (await loop.sock_recv(line, 100)).startswith(b"HTTP/1."):
                    return
            except ConnectionError:
                await asyncio.sleep(look_again_seconds)


def show_starts(found: Kind, floors: Sequence[Kind]) -> None:
    """Before `start_many`."""
    show("start, one after another", milliseconds(found.seconds))
    for floor in floors:
        compare(floor, milliseconds(floor.seconds), median(found.seconds) / median(floor.seconds))
    taken = found.milliseconds_of_processor
    show("processor time of a start", f"{taken:.1f} ms")
    for floor in floors:
        compare(floor, f"{floor.milliseconds_of_processor:.1f} ms", taken / floor.milliseconds_of_processor)
    shared, private = memory_below(found.parent_pid)
    show("memory per pod", f"{shared:.1f} MiB ({private:.1f} private)")
    for floor in floors:
        least, _ = memory_below(floor.parent_pid)
        compare(floor, f"{least:.1f} MiB", shared / least)


async def show_burst(found: Kind, floors: Sequence[Kind]) -> None:
    for kind in (*floors, found):
        await kind.start_many()
    show(f"start, {BURST} at once", f"{found.per_second:.0f} pods/s")
    for floor in floors:
        compare(floor, f"{floor.per_second:.0f} pods/s", found.per_second / floor.per_second)


def compare(floor: Kind, what: str, ratio: float) -> None:
    show(f"  {floor.name}", f"{what}; ratio {ratio:.2f}")


async def measure_pods(network: Network, folder: Path, *, pods: int, floors: Mapping[str, int]) -> None:
    """`floors`: the namespaces of bare pods, by what they are called."""
    here = LoopbackNetwork(loopback_plan(59), 1)
    async with Machine(
        "node-1", folder=folder / "node-1", volumes=folder / "volumes", network=network,
        catalogue=Catalogue(shipped_programs()), clock=SystemClock(),
    ) as machine:  # fmt: skip
        numbers = count()

        async def start(pause: float) -> None:
            name = f"pod-{next(numbers)}"
            sandbox = await machine.run_sandbox(SandboxSpec(f"uid-{name}", "default", name, hostname=name))
            await machine.start_container(sandbox.uid, ContainerSpec("main", IMAGE))
            await answered(network, sandbox.ip, pause)

        async def start_bare(bare: BarePods, pause: float) -> None:
            await answered(here, await bare.start(), pause)

        with ExitStack() as running:
            bares = {name: running.enter_context(bare_pods(kinds)) for name, kinds in floors.items()}
            bare_kinds = [Kind(name, partial(start_bare, bare), bare.pid) for name, bare in bares.items()]
            found = Kind("", start, machine.warm_parent_pid)
            await measure_starts((*bare_kinds, found), pods)
            show_starts(found, bare_kinds)
            await show_burst(found, bare_kinds)
        ends = []
        for number in range(pods):
            started = time.perf_counter()
            await machine.remove_sandbox(f"uid-pod-{number}")
            ends.append(time.perf_counter() - started)
        show("removal, one after another", milliseconds(ends))


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
        isolated = {"bare": ISOLATED, "bare, with a network": CONNECTED}
        floors = isolated if network.host_pod().namespaces else {"bare": 0}
        asyncio.run(measure_pods(network, Path(folder), pods=options.pods, floors=floors))
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
