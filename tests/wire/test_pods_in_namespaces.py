"""Pods with a network, a root and a process tree of their own: what their programs see of themselves and the host."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import psutil
import pytest

from petset.cluster.api.cri import (
    ContainerSpec,
    ContainerStatus,
    Mount,
    RuntimeFailure,
    SandboxSpec,
    SandboxStatus,
    Volume,
)
from petset.cluster.clock import SystemClock
from petset.cluster.network import syscalls
from petset.cluster.node.images import Catalogue, Program
from petset.cluster.node.machine import Machine
from tests.inside import FABRIC, needs_namespaces, own_network
from tests.wire.machine_site import log_of

pytestmark = needs_namespaces

GUESTS = ("answer", "litter")
PATIENCE_SECONDS = 20.0
TRAP = "trap 'exit 0' TERM; echo up; while true; do sleep 0.05; done"
CONTAINER_FIELDS = ("mounts", "working_dir", "command", "env", "termination_log")


class Datacenter:
    """Machines 1 and 2, booted when they are first asked for."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.machines: dict[int, Machine] = {}
        self._running = AsyncExitStack()

    async def machine(self, number: int = 1) -> Machine:
        if number not in self.machines:
            programs = [
                Program(name, (f"test/{name}",), python=f"tests.wire.isolated_guests:{name}") for name in GUESTS
            ]
            programs.append(Program("sleeper", ("test/sleeper",), command=("sleep", "1000")))
            network = own_network(number)
            self._running.callback(network.close)
            self.machines[number] = await self._running.enter_async_context(
                Machine(
                    f"node-{number}",
                    folder=self.folder / "cluster" / f"node-{number}",
                    volumes=self.folder / "cluster" / "volumes",
                    network=network,
                    catalogue=Catalogue(programs),
                    clock=SystemClock(),
                )
            )
        return self.machines[number]

    async def close(self) -> None:
        await self._running.aclose()

    async def pod(self, name: str, *, node: int = 1, image: str = "test/sleeper", **fields: Any) -> Pod:
        machine = await self.machine(node)
        container = {key: fields.pop(key) for key in CONTAINER_FIELDS if key in fields}
        sandbox = await machine.run_sandbox(SandboxSpec(f"uid-{name}", "default", name, hostname=name, **fields))
        status = await machine.start_container(sandbox.uid, ContainerSpec("main", image, **container))
        return Pod(machine, sandbox, status)


class Pod:
    """One pod and its container `main`."""

    def __init__(self, machine: Machine, sandbox: SandboxStatus, status: ContainerStatus) -> None:
        self.machine, self.sandbox, self.status = machine, sandbox, status

    @property
    def ip(self) -> str:
        return self.sandbox.ip

    async def sh(self, script: str) -> str:
        """What a shell in the container prints."""
        result = await self.machine.run_command(self.status.id, ("sh", "-c", script), PATIENCE_SECONDS)
        return result.output.decode()

    async def ask(self, address: str, seconds: float = 5.0) -> str:
        """What the server on port 80 of an address answers to this pod."""
        with syscalls.visiting(f"/proc/{self.status.pid}/ns/net"):
            line = socket.socket()
        line.setblocking(False)
        loop = asyncio.get_running_loop()
        with line:
            async with asyncio.timeout(seconds):
                await loop.sock_connect(line, (address, 80))
                return (await loop.sock_recv(line, 100)).decode()

    async def serving(self) -> Pod:
        """Waits until its server listens."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while True:
                try:
                    await self.ask(self.ip)
                except ConnectionRefusedError:
                    await asyncio.sleep(0.01)
                else:
                    return self

    async def says(self, word: str) -> None:
        """Waits until its log holds the word."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while word not in await log_of(self.machine, self.sandbox.name):
                await asyncio.sleep(0.01)

    async def end(self) -> ContainerStatus:
        seen = 0
        async with asyncio.timeout(PATIENCE_SECONDS):
            while True:
                seen = await self.machine.next_change(seen)
                for sandbox in await self.machine.list_sandboxes():
                    for status in sandbox.containers:
                        if status.id == self.status.id and status.state == "exited":
                            return status


@pytest.fixture
async def datacenter(tmp_path: Path) -> AsyncIterator[Datacenter]:
    datacenter = Datacenter(tmp_path)
    yield datacenter
    await datacenter.close()


async def test_three_pods_of_one_node_listen_on_the_same_port(datacenter: Datacenter) -> None:
    pods = [await (await datacenter.pod(f"pet-{n}", image="test/answer")).serving() for n in range(3)]
    assert [await pods[0].ask(pod.ip) for pod in pods] == ["pet-0", "pet-1", "pet-2"]


async def test_pods_of_different_nodes_reach_each_other(datacenter: Datacenter) -> None:
    here = await datacenter.pod("pet-0")
    there = await (await datacenter.pod("pet-1", node=2, image="test/answer")).serving()
    assert (there.ip, await here.ask(there.ip)) == ("10.244.2.2", "pet-1")


async def test_localhost_is_the_pods_own(datacenter: Datacenter) -> None:
    server = await (await datacenter.pod("pet-0", image="test/answer")).serving()
    assert await server.ask("127.0.0.1") == "pet-0"
    with pytest.raises(ConnectionRefusedError):
        await (await datacenter.pod("pet-1")).ask("127.0.0.1")


async def test_the_machine_reaches_its_pods(datacenter: Datacenter) -> None:
    server = await (await datacenter.pod("pet-0", image="test/answer")).serving()
    network = own_network(1)
    with network.make_socket(server.ip) as line:
        async with asyncio.timeout(5):
            await asyncio.get_running_loop().sock_connect(line, (server.ip, 80))
            assert await asyncio.get_running_loop().sock_recv(line, 100) == b"pet-0"


async def test_a_pod_on_the_hosts_network_shares_the_machines_stack(datacenter: Datacenter) -> None:
    pod = await datacenter.pod("pet-0", host_network=True, image="test/answer")
    assert (await pod.serving()).ip == "172.18.0.1"
    other = await datacenter.pod("pet-1", node=2)
    assert await other.ask("172.18.0.1") == "pet-0"
    side = await pod.machine.start_container(pod.sandbox.uid, ContainerSpec("side", "test/sleeper"))
    assert await pod.sh("echo shared > /dev/shm/file; stat -f -c %T /dev/shm") == "tmpfs\n"
    assert await Pod(pod.machine, pod.sandbox, side).sh("cat /dev/shm/file") == "shared\n"
    await pod.machine.remove_sandbox(pod.sandbox.uid)
    assert [each for each in psutil.disk_partitions(all=True) if pod.sandbox.uid in each.mountpoint] == []


async def test_a_pod_has_its_name_and_its_files_in_etc(datacenter: Datacenter) -> None:
    pod = await datacenter.pod(
        "pet-0", nameserver="10.96.0.10", searches=("a.test", "b.test"), dns_options=("ndots:5",)
    )
    assert await pod.sh("hostname; cat /etc/hostname") == "pet-0\npet-0\n"
    assert await pod.sh("cat /etc/resolv.conf") == "nameserver 10.96.0.10\nsearch a.test b.test\noptions ndots:5\n"
    assert f"{pod.ip}\tpet-0\n" in await pod.sh("cat /etc/hosts")


async def test_last_words_are_left_at_the_path_that_the_manifest_names(datacenter: Datacenter) -> None:
    script = 'echo "no database" > /dev/termination-log; exit 3'
    pod = await datacenter.pod("pet-0", command=("sh", "-c", script), termination_log="/dev/termination-log")
    ended = await pod.end()
    assert (ended.exit_code, ended.message) == (3, "no database\n")


async def test_volumes_are_at_their_mount_paths(datacenter: Datacenter) -> None:
    files = Volume("config", "files", files={"a.conf": b"text"})
    mounts = (
        Mount("data", "/var/data"),
        Mount("config", "/etc/app", read_only=True),
        Mount("config", "/opt/made/up/a.conf", sub_path="a.conf"),
    )
    pod = await datacenter.pod(
        "pet-0", volumes=(Volume("data", "disk", source="pv-1"), files), mounts=mounts, working_dir="/var/data/deep"
    )
    assert await pod.sh("pwd; cat /etc/app/a.conf /opt/made/up/a.conf") == "/var/data/deep\ntexttext"
    assert await pod.sh("echo kept > /var/data/file; echo $?") == "0\n"
    assert (datacenter.folder / "cluster/volumes/disks/pv-1/file").read_text() == "kept\n"
    assert "Read-only file system" in await pod.sh("touch /etc/app/b.conf")


@pytest.mark.parametrize("folder", ["/tmp", "/etc", "/var/lib", "/usr/local", "/dev/shm", "/run", "/root"])
async def test_what_is_written_elsewhere_is_the_containers_own(datacenter: Datacenter, folder: str) -> None:
    here, there = await datacenter.pod("pet-0"), await datacenter.pod("pet-1")
    assert await here.sh(f"echo mine > {folder}/petset-probe; cat {folder}/petset-probe") == "mine\n"
    assert await there.sh(f"ls -d {folder}; ls {folder}/petset-probe 2>/dev/null") == f"{folder}\n"
    assert "petset-probe" not in os.listdir(folder)


async def test_a_restarted_container_finds_none_of_its_scratch_files(datacenter: Datacenter) -> None:
    pod = await datacenter.pod("pet-0")
    await pod.sh("touch /var/lib/left /tmp/left")
    await pod.machine.signal_container(pod.status.id, signal.SIGKILL)
    await pod.end()
    status = await pod.machine.start_container(pod.sandbox.uid, ContainerSpec("main", "test/sleeper", attempt=1))
    assert await Pod(pod.machine, pod.sandbox, status).sh("ls /tmp /var/lib | grep left") == ""


async def test_the_clusters_own_files_are_out_of_sight(datacenter: Datacenter) -> None:
    (datacenter.folder / "cluster").mkdir()
    (datacenter.folder / "cluster" / "token").write_text("secret")
    pod = await datacenter.pod("pet-0")
    assert await pod.sh(f"cat {datacenter.folder}/cluster/token 2>&1 | grep -c secret") == "0\n"


async def test_a_pod_sees_its_own_processes_alone(datacenter: Datacenter) -> None:
    pod = await datacenter.pod("pet-0")
    names = await pod.sh("for each in /proc/[0-9]*; do cat $each/comm; done")
    assert {"sleep"} < set(names.split()) <= {"sleep", "sh", "cat"}


async def test_its_program_is_the_first_of_its_processes(datacenter: Datacenter) -> None:
    pod = await datacenter.pod("pet-0")
    assert await pod.sh("cat /proc/1/comm") == "sleep\n"


@pytest.mark.parametrize("kind", ["command", "Python function"])
async def test_a_first_process_hears_the_signals_that_it_asks_for(datacenter: Datacenter, kind: str) -> None:
    """What makes so many pods take their whole grace period to end, in Kubernetes as here."""
    deaf: dict[str, Any] = {"image": "test/answer"} if kind == "Python function" else {"command": ("sleep", "1000")}
    traps: dict[str, Any] = {"image": "test/litter"} if kind == "Python function" else {"command": ("sh", "-c", TRAP)}
    one, two = await datacenter.pod("pet-0", **deaf), await datacenter.pod("pet-1", **traps)
    await two.says("up")
    for pod in (one, two):
        await pod.machine.signal_container(pod.status.id, signal.SIGTERM)
    assert (await two.end()).exit_code == 0
    assert await one.sh("echo still here") == "still here\n"
    assert await one.sh("kill -9 1; echo still here") == "still here\n"
    await one.machine.signal_container(one.status.id, signal.SIGKILL)
    assert (await one.end()).signal == signal.SIGKILL


def states_below(process: psutil.Process) -> list[str]:
    try:
        return sorted(child.status() for child in process.children(recursive=True))
    except psutil.NoSuchProcess:
        return []


async def shares_processes(pod: Pod, script: str) -> Pod:
    """A debugging container of a shell script among the processes of the pod's container `main`."""
    spec = ContainerSpec("debug", "test/sleeper", command=("sh", "-c", script), target="main")
    return Pod(pod.machine, pod.sandbox, await pod.machine.start_container(pod.sandbox.uid, spec))


async def test_a_container_shares_the_processes_of_its_target(datacenter: Datacenter) -> None:
    pod = await datacenter.pod("pet-0", command=("sleep", "54321"))
    debugger = await shares_processes(pod, "touch /tmp/mine; exec sleep 12345")
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not {"sleep 54321", "sleep 12345"} <= set((await debugger.sh("ps -A -o args=")).splitlines()):
            await asyncio.sleep(0.01)  # the script may not have come to its second program
    assert (await debugger.sh("hostname; ls -d /tmp/mine")).split() == ["pet-0", "/tmp/mine"]
    assert "mine" not in (await pod.sh("ls /tmp")).split(), "each has a /tmp of its own"
    await pod.machine.signal_container(pod.status.id, signal.SIGKILL)
    assert (await debugger.end()).state == "exited"


async def test_what_a_sharing_container_leaves_behind_ends_with_it(datacenter: Datacenter) -> None:
    pod = await datacenter.pod("pet-0")
    debugger = await shares_processes(pod, "setsid sleep 12345 & exit 3")
    assert (await debugger.end()).exit_code == 3
    assert "12345" not in await pod.sh("ps -A -o args=")


async def test_a_target_must_run(datacenter: Datacenter) -> None:
    pod = await datacenter.pod("pet-0", command=("true",))
    await pod.end()
    with pytest.raises(RuntimeFailure, match="unable to find target container 'main'"):
        await shares_processes(pod, "true")


async def test_the_machine_shares_its_processes_when_asked(datacenter: Datacenter) -> None:
    pod = await datacenter.pod("pet-0", host_network=True, host_processes=True)
    assert str(os.getpid()) in (await pod.sh("ps -A -o pid=")).split()
    await pod.machine.signal_container(pod.status.id, signal.SIGTERM)
    assert (await pod.end()).signal == signal.SIGTERM


async def test_orphans_are_the_programs_and_end_with_it(datacenter: Datacenter) -> None:
    pod = await datacenter.pod("pet-0", image="test/litter")
    program = psutil.Process(pod.status.pid)
    async with asyncio.timeout(PATIENCE_SECONDS):
        while states_below(program) != [psutil.STATUS_SLEEPING, psutil.STATUS_ZOMBIE]:
            await asyncio.sleep(0.01)
    below = program.children(recursive=True)
    await pod.machine.signal_container(pod.status.id, signal.SIGTERM)
    end = await pod.end()
    assert (end.exit_code, end.signal) == (0, 0)
    assert not [process for process in below if process.is_running()]


async def test_the_containers_of_a_pod_share_network_and_name_but_not_processes(datacenter: Datacenter) -> None:
    pod = await (await datacenter.pod("pet-0", image="test/answer")).serving()
    status = await pod.machine.start_container(pod.sandbox.uid, ContainerSpec("side", "test/sleeper"))
    side = Pod(pod.machine, pod.sandbox, status)
    assert await side.ask("127.0.0.1") == "pet-0"
    for kind, shared in {"net": True, "uts": True, "ipc": True, "pid": False, "mnt": False}.items():
        same = os.readlink(f"/proc/{pod.status.pid}/ns/{kind}") == os.readlink(f"/proc/{status.pid}/ns/{kind}")
        assert same == shared, kind
    await pod.sh("echo shared > /dev/shm/note; echo own > /tmp/note")
    assert await side.sh("cat /dev/shm/note /tmp/note 2>/dev/null") == "shared\n"


async def test_shared_memory_is_gone_with_its_pod(datacenter: Datacenter) -> None:
    for _ in range(2):
        pod = await datacenter.pod("pet-0")
        assert await pod.sh("ls /dev/shm; touch /dev/shm/left; stat -f -c %T /dev/shm") == "tmpfs\n"
        await pod.machine.remove_sandbox(pod.sandbox.uid)
    assert os.listdir(f"{os.environ[FABRIC]}/shared-memory-1") == []


async def test_a_mount_that_cannot_be_made_is_the_containers_failure(datacenter: Datacenter) -> None:
    mounts = (Mount("data", "/etc/passwd"),)
    with pytest.raises(RuntimeFailure, match=r"/etc/passwd"):
        await datacenter.pod("pet-0", volumes=(Volume("data", "empty"),), mounts=mounts)


async def test_a_program_that_cannot_start_says_why(datacenter: Datacenter) -> None:
    with pytest.raises(RuntimeFailure, match="no-such-program.*not found"):
        await datacenter.pod("pet-0", command=("no-such-program",))


async def test_the_warm_parents_death_is_all_pods_death(datacenter: Datacenter) -> None:
    pod = await datacenter.pod("pet-0", image="test/litter")
    below = psutil.Process(pod.status.pid).children(recursive=True)
    os.kill(pod.machine.warm_parent_pid, signal.SIGKILL)
    assert (await pod.end()).signal == signal.SIGKILL
    assert not [process for process in below if process.is_running() and process.status() != psutil.STATUS_ZOMBIE]
