"""What every `Runtime` promises (cluster/kubelet/runtime.py): the machine with real processes, and the fake.

Images: `test/serve` prints "up" and runs until a signal ends it; `test/quits` prints "done" and exits with code 3.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from petset.cluster.api.cri import (
    AttachRequest,
    ContainerSpec,
    ContainerStatus,
    ExecRequest,
    ImageNotFound,
    LogRequest,
    RuntimeFailure,
    SandboxSpec,
    StreamRequest,
    Volume,
)
from petset.cluster.clock import SystemClock
from petset.cluster.errors import NotFound
from petset.cluster.kubelet.runtime import Runtime
from petset.cluster.network.addresses import loopback_plan
from petset.cluster.network.loopback import LoopbackNetwork
from petset.cluster.network.network import Network
from petset.cluster.node.images import Catalogue, Program
from petset.cluster.node.machine import Machine
from petset.cluster.streaming.frames import STDOUT, exited, frame, read_frames, succeeded
from tests.fakes.runtime import Command, FakeRuntime
from tests.fakes.runtime import Program as FakeProgram
from tests.inside import needs_namespaces, own_network

SPEAK = ("sh", "-c", "echo hi; exit 4")
DAWDLE = ("sh", "-c", "echo slow; sleep 1000")


def fake_runtime() -> FakeRuntime:
    fake = FakeRuntime(SystemClock())
    fake.unknown_images.add("test/unknown")
    fake.programs["test/serve"] = FakeProgram(output=b"up\n")
    fake.programs["test/quits"] = FakeProgram(exits_after_seconds=0.01, exit_code=3, output=b"done\n")
    fake.commands[SPEAK] = Command(exit_code=4, output=b"hi\n")
    fake.commands[DAWDLE] = Command(seconds=1000, output=b"slow\n")
    return fake


def machine(folder: Path, network: Network) -> Machine:
    guests = [
        Program(name, (f"test/{name}",), python=f"tests.wire.machine_guests:{name}") for name in ("serve", "quits")
    ]
    return Machine(
        "node-1",
        folder=folder / "node-1",
        volumes=folder / "volumes",
        network=network,
        catalogue=Catalogue(guests),
        clock=SystemClock(),
    )


@pytest.fixture(params=["machine", pytest.param("machine in namespaces", marks=needs_namespaces), "fake"])
async def runtime(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Runtime]:
    if request.param == "fake":
        yield fake_runtime()
        return
    network = LoopbackNetwork(loopback_plan(60), 1) if request.param == "machine" else own_network(1)
    async with machine(tmp_path, network) as running:
        yield running
    network.close()


def sandbox(name: str) -> SandboxSpec:
    return SandboxSpec(uid=f"uid-{name}", namespace="default", name=name, hostname=name)


def container(image: str, **fields: Any) -> ContainerSpec:
    return ContainerSpec(name="main", image=image, **fields)


async def started(runtime: Runtime, pod: str, spec: ContainerSpec) -> ContainerStatus:
    await runtime.run_sandbox(sandbox(pod))
    return await runtime.start_container(f"uid-{pod}", spec)


async def ended(runtime: Runtime, container_id: str) -> ContainerStatus:
    """The container's status once it has exited; learned through next_change alone."""
    seen = 0
    async with asyncio.timeout(20):
        while True:
            seen = await runtime.next_change(seen)
            for each in await runtime.list_sandboxes():
                for status in each.containers:
                    if status.id == container_id and status.state == "exited":
                        return status


async def test_a_known_image_keeps_its_reference_and_has_one_id(runtime: Runtime) -> None:
    image = await runtime.pull_image("test/serve")
    assert image.reference == "test/serve"
    assert image.id
    assert (await runtime.pull_image("test/serve")).id == image.id
    assert (await runtime.pull_image("test/quits")).id != image.id


async def test_an_unknown_image_is_not_found(runtime: Runtime) -> None:
    with pytest.raises(ImageNotFound, match="test/unknown"):
        await runtime.pull_image("test/unknown")
    await runtime.run_sandbox(sandbox("pet-0"))
    with pytest.raises(ImageNotFound):
        await runtime.start_container("uid-pet-0", container("test/unknown"))
    assert (await runtime.list_sandboxes())[0].containers == ()


async def test_a_sandbox_asked_for_twice_is_one(runtime: Runtime) -> None:
    first = await runtime.run_sandbox(sandbox("pet-0"))
    assert await runtime.run_sandbox(sandbox("pet-0")) == first
    assert await runtime.list_sandboxes() == [first]
    assert (first.uid, first.namespace, first.name) == ("uid-pet-0", "default", "pet-0")


async def test_sandboxes_are_listed_by_creation_with_an_address_each(runtime: Runtime) -> None:
    for name in ("pet-1", "pet-0", "pet-2"):
        await runtime.run_sandbox(sandbox(name))
    listed = await runtime.list_sandboxes()
    assert [each.name for each in listed] == ["pet-1", "pet-0", "pet-2"]
    assert len({each.ip for each in listed}) == 3


async def test_a_measurement_has_the_machine_and_every_running_container(runtime: Runtime) -> None:
    status = await started(runtime, "pet-0", container("test/serve"))
    gone = await started(runtime, "pet-1", container("test/quits"))
    await ended(runtime, gone.id)
    usage = await runtime.measure()
    assert [*usage.containers] == [status.id]
    assert 0 < usage.containers[status.id].memory_bytes <= usage.machine.memory_bytes
    assert 0 <= usage.containers[status.id].cpu_seconds <= usage.machine.cpu_seconds
    assert status.started_at <= usage.taken_at


async def test_volumes_are_changed_and_measured_in_their_sandbox(runtime: Runtime) -> None:
    config, scratch = Volume("config", "files", files={"a": b"1"}), Volume("scratch", "empty")
    await runtime.run_sandbox(replace(sandbox("pet-0"), volumes=(config, scratch)))
    await runtime.update_volumes("uid-pet-0", (replace(config, files={"a": b"2"}),))
    assert await runtime.volume_bytes("uid-pet-0", ("scratch",)) == {"scratch": 0}
    with pytest.raises(RuntimeFailure):
        await runtime.update_volumes("nobody", (config,))
    with pytest.raises(RuntimeFailure):
        await runtime.volume_bytes("nobody", ("scratch",))


async def test_a_started_container_runs(runtime: Runtime) -> None:
    status = await started(runtime, "pet-0", container("test/serve"))
    assert status.state == "running"
    assert status.pid > 0
    assert status.started_at > 0
    assert status.image == "test/serve"
    assert (await runtime.list_sandboxes())[0].containers == (status,)


async def test_a_start_repeated_answers_the_container_that_is_there(runtime: Runtime) -> None:
    status = await started(runtime, "pet-0", container("test/serve"))
    assert await runtime.start_container("uid-pet-0", container("test/serve")) == status
    assert (await runtime.list_sandboxes())[0].containers == (status,)


async def test_nothing_starts_in_an_unknown_sandbox(runtime: Runtime) -> None:
    with pytest.raises(RuntimeFailure):
        await runtime.start_container("nobody", container("test/serve"))


async def test_an_exit_is_reported_with_its_code(runtime: Runtime) -> None:
    status = await started(runtime, "pet-0", container("test/quits"))
    end = await ended(runtime, status.id)
    assert (end.exit_code, end.signal) == (3, 0)
    assert end.finished_at >= end.started_at > 0


async def test_a_death_by_signal_is_reported_with_both(runtime: Runtime) -> None:
    status = await started(runtime, "pet-0", container("test/serve"))
    await runtime.signal_container(status.id, 9)
    end = await ended(runtime, status.id)
    assert (end.exit_code, end.signal) == (137, 9)


async def test_attempts_are_listed_oldest_first(runtime: Runtime) -> None:
    first = await started(runtime, "pet-0", container("test/quits"))
    await ended(runtime, first.id)
    second = await runtime.start_container("uid-pet-0", container("test/serve", attempt=1))
    assert second.id != first.id
    listed = (await runtime.list_sandboxes())[0].containers
    assert [(each.attempt, each.state) for each in listed] == [(0, "exited"), (1, "running")]


async def test_signals_to_nobody_are_no_error(runtime: Runtime) -> None:
    await runtime.signal_container("nobody", 15)
    status = await started(runtime, "pet-0", container("test/quits"))
    end = await ended(runtime, status.id)
    await runtime.signal_container(status.id, 9)
    assert (await runtime.list_sandboxes())[0].containers == (end,)


async def test_a_removed_sandbox_is_gone_with_its_containers(runtime: Runtime) -> None:
    status = await started(runtime, "pet-0", container("test/serve"))
    await runtime.remove_sandbox("uid-pet-0")
    assert await runtime.list_sandboxes() == []
    with pytest.raises(RuntimeFailure):
        await runtime.run_command(status.id, SPEAK, 5.0)
    with pytest.raises(NotFound):
        await runtime.open_stream(LogRequest("uid-pet-0", "main", 0))
    await runtime.remove_sandbox("uid-pet-0")
    await runtime.remove_sandbox("nobody")


async def test_changes_count_exits(runtime: Runtime) -> None:
    status = await started(runtime, "pet-0", container("test/serve"))
    await runtime.signal_container(status.id, 9)
    assert await runtime.next_change(0) == 1
    await runtime.remove_sandbox("uid-pet-0")
    await started(runtime, "pet-1", container("test/serve"))
    await runtime.remove_sandbox("uid-pet-1")
    assert await runtime.next_change(1) == 2


async def test_next_change_waits_for_one(runtime: Runtime) -> None:
    waiter = asyncio.create_task(runtime.next_change(0))
    status = await started(runtime, "pet-0", container("test/serve"))
    await runtime.list_sandboxes()
    assert not waiter.done()
    await runtime.signal_container(status.id, 9)
    assert await waiter == 1


async def test_a_number_from_before_a_restart_is_answered_at_once(runtime: Runtime) -> None:
    assert await runtime.next_change(4711) == 0


async def test_a_command_answers_with_code_and_output(runtime: Runtime) -> None:
    status = await started(runtime, "pet-0", container("test/serve"))
    result = await runtime.run_command(status.id, SPEAK, 20.0)
    assert (result.exit_code, result.output) == (4, b"hi\n")


async def test_a_command_that_takes_too_long_ends_with_124(runtime: Runtime) -> None:
    status = await started(runtime, "pet-0", container("test/serve"))
    result = await runtime.run_command(status.id, DAWDLE, 0.3)
    assert (result.exit_code, result.output) == (124, b"slow\n")


async def test_no_command_runs_in_a_container_that_does_not(runtime: Runtime) -> None:
    status = await started(runtime, "pet-0", container("test/quits"))
    await ended(runtime, status.id)
    for container_id in (status.id, "nobody"):
        with pytest.raises(RuntimeFailure):
            await runtime.run_command(container_id, SPEAK, 5.0)


async def heard(stream: socket.socket) -> list[tuple[int, bytes]]:
    """Everything that a stream says, by channel, in the order of each channel's first word."""
    said: dict[int, bytes] = {}
    reader, writer = await asyncio.open_unix_connection(sock=stream)
    async with asyncio.timeout(20):
        async for channel, data in read_frames(reader):
            said[channel] = said.get(channel, b"") + data
    writer.close()
    await writer.wait_closed()
    return [*said.items()]


async def test_a_log_is_a_stream_with_an_end(runtime: Runtime) -> None:
    status = await started(runtime, "pet-0", container("test/quits"))
    await ended(runtime, status.id)
    (channel, text), end = await heard(await runtime.open_stream(LogRequest("uid-pet-0", "main", 0)))
    assert (channel, text) == (STDOUT, b"done\n")
    assert frame(*end) == succeeded()


async def test_a_streamed_command_speaks_then_tells_its_exit_code(runtime: Runtime) -> None:
    status = await started(runtime, "pet-0", container("test/serve"))
    (channel, text), end = await heard(await runtime.open_stream(ExecRequest(status.id, SPEAK)))
    assert (channel, text) == (STDOUT, b"hi\n")
    assert frame(*end) == exited(4)


@pytest.mark.parametrize(
    "make", [lambda container: ExecRequest(container, SPEAK), AttachRequest], ids=["exec", "attach"]
)
async def test_no_stream_of_a_container_that_does_not_run(
    runtime: Runtime, make: Callable[[str], StreamRequest]
) -> None:
    status = await started(runtime, "pet-0", container("test/quits"))
    await ended(runtime, status.id)
    for container_id in (status.id, "nobody"):
        with pytest.raises(RuntimeFailure):
            await runtime.open_stream(make(container_id))


@pytest.mark.parametrize(
    ("uid", "name", "attempt"),
    [("nobody", "main", 0), ("uid-pet-0", "other", 0), ("uid-pet-0", "main", 1)],
    ids=["sandbox", "container", "attempt"],
)
async def test_a_log_of_nobody_is_not_found(runtime: Runtime, uid: str, name: str, attempt: int) -> None:
    await started(runtime, "pet-0", container("test/serve"))
    with pytest.raises(NotFound):
        await runtime.open_stream(LogRequest(uid, name, attempt))
