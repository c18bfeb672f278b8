"""What images and volumes bring into pods with a root of their own: files, users, memory, hostPorts, live updates."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

from petset.cluster.api.cri import ContainerSpec, Mount, PortMapping, RuntimeFailure, SandboxSpec, Volume
from petset.cluster.clock import SystemClock
from petset.cluster.network import syscalls
from petset.cluster.node.images import Catalogue, Program
from petset.cluster.node.machine import Machine
from tests.inside import needs_namespaces, own_network
from tests.wire.test_pods_in_namespaces import Pod

pytestmark = needs_namespaces

PROGRAMS = (
    Program("sleeper", ("test/sleeper",), command=("sleep", "1000")),
    Program("answer", ("test/answer",), python="tests.wire.isolated_guests:answer"),
    Program("datagrams", ("test/datagrams",), python="tests.wire.isolated_guests:answer_datagrams"),
    Program("daemon", ("test/daemon",), command=("sleep", "1000"), user="daemon"),
    Program(
        "filed",
        ("test/filed",),
        command=("sleep", "1000"),
        files={"/etc/app/app.conf": "on {bind} of {hostname}, {file:/etc/app/app.conf}", "/srv/deep/page": "page"},
    ),
)


class Node:
    """One machine, and pods on it."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine

    async def pod(self, name: str, image: str = "test/sleeper", **fields: Any) -> Pod:
        container = {key: fields.pop(key) for key in ("mounts", "user") if key in fields}
        sandbox = await self.machine.run_sandbox(SandboxSpec(f"uid-{name}", "default", name, hostname=name, **fields))
        return Pod(self.machine, sandbox, await self.start(sandbox.uid, "main", image, **container))

    async def start(self, uid: str, name: str, image: str, **fields: Any) -> Any:
        return await self.machine.start_container(uid, ContainerSpec(name, image, **fields))


@pytest.fixture
async def node(tmp_path: Path) -> AsyncIterator[Node]:
    network = own_network(1)
    async with AsyncExitStack() as running:
        running.callback(network.close)
        machine = Machine(
            "node-1",
            folder=tmp_path / "node-1",
            volumes=tmp_path / "volumes",
            network=network,
            catalogue=Catalogue(PROGRAMS),
            clock=SystemClock(),
        )
        yield Node(await running.enter_async_context(machine))


async def test_a_program_takes_itself_for_the_user_of_its_image(node: Node, tmp_path: Path) -> None:
    disk = Volume("data", "disk", source="pv-1")
    pod = await node.pod("pet-0", "test/daemon", volumes=(disk,), mounts=(Mount("data", "/data"),))
    assert await pod.sh("id -u; id -un; touch /data/file /tmp/file && stat -c %U /data/file") == "1\ndaemon\ndaemon\n"
    assert (tmp_path / "volumes/disks/pv-1/file").stat().st_uid == os.geteuid()
    assert psutil.Process(pod.status.pid).name() == "sleep"


async def test_a_manifests_user_has_the_last_word_and_may_listen_anywhere(node: Node) -> None:
    pod = await node.pod("pet-0", "test/daemon", user="1234:4321")
    assert await pod.sh("id -u; id -g") == "1234\n4321\n"
    server = await (await node.pod("pet-1", "test/answer", user="1000:0")).serving()
    assert await server.ask(server.ip) == "pet-1"


async def test_an_image_has_files_where_no_volume_is_mounted(node: Node) -> None:
    hidden = Volume("hidden", "files", files={"other": b"mounted"}, read_only=True)
    pod = await node.pod("pet-0", "test/filed", volumes=(hidden,), mounts=(Mount("hidden", "/srv/deep"),))
    assert await pod.sh("cat /etc/app/app.conf; ls /srv/deep") == "on 0.0.0.0 of pet-0, /etc/app/app.confother\n"
    assert await (await node.pod("pet-1", "test/filed")).sh("cat /srv/deep/page; ls /etc/hostname") == (
        "page/etc/hostname\n"
    )


async def test_mounted_files_change_while_the_program_looks(node: Node) -> None:
    config = Volume("config", "files", files={"a.conf": b"old"}, read_only=True)
    mounts = (Mount("config", "/etc/app"), Mount("config", "/etc/single", sub_path="a.conf"))
    pod = await node.pod("pet-0", volumes=(config,), mounts=mounts)
    changed = Volume("config", "files", files={"a.conf": b"new", "b.conf": b"more"}, read_only=True)
    await node.machine.update_volumes(pod.sandbox.uid, (changed,))
    assert await pod.sh("cat /etc/app/a.conf /etc/app/b.conf /etc/single") == "newmoreold"
    assert "Read-only file system" in await pod.sh("touch /etc/app/c.conf")


async def test_memory_is_shared_by_a_pods_containers_bounded_and_gone_with_it(node: Node, tmp_path: Path) -> None:
    memory = Volume("memory", "empty", in_memory=True, size_bytes=1 << 20)
    pod = await node.pod("pet-0", volumes=(memory,), mounts=(Mount("memory", "/memory"),))
    side = await node.start(pod.sandbox.uid, "side", "test/sleeper", mounts=(Mount("memory", "/elsewhere"),))
    assert await pod.sh("echo shared > /memory/file; stat -f -c %T /memory") == "tmpfs\n"
    assert await Pod(node.machine, pod.sandbox, side).sh("cat /elsewhere/file") == "shared\n"
    assert "No space left" in await pod.sh("head -c 2000000 /dev/zero > /memory/big")
    await node.machine.remove_sandbox(pod.sandbox.uid)
    assert [each for each in psutil.disk_partitions(all=True) if each.mountpoint.startswith(str(tmp_path))] == []


async def test_a_machine_takes_its_memory_with_it_and_what_one_that_died_has_left(tmp_path: Path) -> None:
    def machine() -> Machine:
        places = {"folder": tmp_path / "node-1", "volumes": tmp_path / "volumes"}
        return Machine("node-1", **places, network=network, catalogue=Catalogue(PROGRAMS), clock=SystemClock())

    def mounts() -> list[str]:
        everywhere = psutil.disk_partitions(all=True)
        return [each.mountpoint for each in everywhere if each.mountpoint.startswith(str(tmp_path))]

    network = own_network(1)
    async with machine() as first:
        await Node(first).pod("pet-0", volumes=(Volume("memory", "empty", in_memory=True),))
        [place] = mounts()
    assert mounts() == []
    syscalls.mount("memory", place, "tmpfs")
    async with machine():
        assert mounts() == []
    network.close()


async def reach(address: str, port: int, words: bytes = b"") -> str:
    """What the server at a port answers to the machine: at once, or to datagrams of `words` as soon as it is up."""
    loop = asyncio.get_running_loop()
    with own_network(1).make_socket(address, kind=socket.SOCK_DGRAM if words else socket.SOCK_STREAM) as line:
        async with asyncio.timeout(5):
            await loop.sock_connect(line, (address, port))
            if not words:
                return (await loop.sock_recv(line, 100)).decode()
            while True:
                await loop.sock_sendall(line, words)
                with suppress(TimeoutError):
                    async with asyncio.timeout(0.1):
                        return (await loop.sock_recv(line, 100)).decode()


async def test_a_host_port_leads_to_the_pod_until_it_is_gone(node: Node) -> None:
    ports = (PortMapping("TCP", 8080, 80), PortMapping("UDP", 8080, 53))
    pod = await (await node.pod("pet-0", "test/answer", ports=ports)).serving()
    await node.start(pod.sandbox.uid, "side", "test/datagrams")
    assert await reach("172.18.0.1", 8080) == "pet-0"
    assert await reach("172.18.0.1", 8080, b"hello") == "pet-0 hello"
    await node.machine.remove_sandbox(pod.sandbox.uid)
    for words in (b"", b"hello"):
        with pytest.raises(ConnectionRefusedError):
            await reach("172.18.0.1", 8080, words)


async def test_a_host_port_that_is_taken_is_refused_and_nothing_stays(node: Node) -> None:
    with own_network(1).make_socket("172.18.0.1") as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken.bind(("172.18.0.1", 8081))
        taken.listen()
        both = (PortMapping("TCP", 8080, 80), PortMapping("TCP", 8081, 80))
        with pytest.raises(RuntimeFailure, match=r"hostPort 172\.18\.0\.1:8081/TCP: Address already in use"):
            await node.pod("pet-0", ports=both)
        assert await node.machine.list_sandboxes() == []
    assert (await node.pod("pet-0", ports=both)).status.state == "running"
