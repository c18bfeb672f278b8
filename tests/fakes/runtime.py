"""A machine without processes: `Runtime` and `Prober` in the event loop's time, steered by the test.

    FakeRuntime.programs[image] ── what the containers of that image do: run on, end by themselves, heed SIGTERM
    FakeRuntime.commands[argv]  ── what a command inside a container answers
    FakeRuntime.exit(...)       ── a container ends now
    FakeRuntime.failures[call]  ── the next errors of that call, oldest first
    FakeRuntime.silent          ── the machine does not answer
    FakeRuntime.reboot()        ── the machine lost everything that ran on it

Passes the same contract suite as the real machine (tests/contract/test_runtime.py). Exits that a program decides on
come from loop timers, so a loop with virtual time runs hours of them in no time.
"""

from __future__ import annotations

import asyncio
import socket
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from signal import SIGKILL, SIGTERM
from typing import Any

from petset.cluster.api.cri import (
    AttachRequest,
    ContainerSpec,
    ContainerStatus,
    ExecResult,
    Image,
    ImageNotFound,
    LogRequest,
    MachineUsage,
    ProcessUsage,
    RuntimeFailure,
    SandboxSpec,
    SandboxStatus,
    StreamRequest,
    Volume,
)
from petset.cluster.clock import Clock
from petset.cluster.errors import NotFound, Unavailable
from petset.cluster.network.addresses import PodAddresses, loopback_plan
from petset.cluster.streaming.frames import STDOUT, exited, frame, succeeded

MEBIBYTE = 1024 * 1024


@dataclass(frozen=True)
class Program:
    """What the containers of an image do. `term_after_seconds` None: SIGTERM is ignored."""

    exits_after_seconds: float | None = None
    exit_code: int = 0
    term_after_seconds: float | None = 0.0
    term_exit_code: int = 128 + SIGTERM
    output: bytes = b""


@dataclass(frozen=True)
class Command:
    """What a command inside a container does: it takes its time, then answers."""

    exit_code: int = 0
    output: bytes = b""
    seconds: float = 0.0


class FakeRuntime:
    """One emulated machine; every image is known except `unknown_images`."""

    def __init__(self, clock: Clock, *, node_number: int = 1) -> None:
        self.programs: dict[str, Program] = {}
        self.commands: dict[tuple[str, ...], Command] = {}
        self.unknown_images: set[str] = set()
        self.stored: dict[str, int] = {}
        """How many bytes the emptyDirs of a name hold, in every pod."""
        self.busy: dict[str, float] = {}
        """How many CPUs a container of an image keeps busy; each has 1 MiB of memory."""
        self.failures: dict[str, list[Exception]] = defaultdict(list)
        self.removal_seconds = 0.0
        """How long it takes to empty the folders of a sandbox that is off the list already."""
        self.call_seconds = 0.0
        """How long every call takes, beside a turn of the loop."""
        self.calls: Counter[str] = Counter()
        """How often each method was called."""
        self.silent = False
        """The machine does not answer: every call fails."""
        self.on_sandbox: Callable[[SandboxSpec], None] = lambda spec: None
        """Called when a sandbox is made: with its volumes mounted, on a real machine."""
        self.signals: list[tuple[str, int]] = []
        """(container name, signal) of every signal that reached a running container, in order."""
        self.sandbox_specs: dict[str, SandboxSpec] = {}
        self.container_specs: dict[str, ContainerSpec] = {}
        """What was asked for, by sandbox uid and by container id."""
        self.history: list[ContainerStatus] = []
        """Every container status that there was: each start and each exit, in order."""
        self._clock = clock
        self._sandboxes: dict[str, SandboxStatus] = {}
        self._containers: dict[str, ContainerStatus] = {}
        self._place: dict[str, str] = {}
        self._logs: dict[str, bytes] = {}
        self._timers: dict[str, list[asyncio.TimerHandle]] = defaultdict(list)
        self._addresses = PodAddresses(loopback_plan(0).pod_range(node_number))
        self._changes = 0
        self._changed = asyncio.Event()
        self._boots = 0

    # -- the test's side ------------------------------------------------------------------------------------------

    def container(self, pod: str, container: str) -> ContainerStatus:
        """The newest attempt of a container of the pod with that name. Raises LookupError."""
        for sandbox in reversed(self._sandboxes.values()):
            if sandbox.name != pod:
                continue
            attempts = [each for each in self._containers_of(sandbox.uid) if each.name == container]
            if attempts:
                return attempts[-1]
        raise LookupError(f"no container {container!r} in pod {pod!r}")

    def running_pods(self) -> list[tuple[str, str]]:
        """(uid, name) of every pod with a container that runs."""
        running = {self._place[each.id] for each in self._containers.values() if each.state == "running"}
        return [(uid, sandbox.name) for uid, sandbox in self._sandboxes.items() if uid in running]

    def exit(self, pod: str, container: str, *, exit_code: int = 0, signal: int = 0) -> None:
        """The newest attempt of this container ends now."""
        self._end(self.container(pod, container).id, exit_code=exit_code, signal=signal)

    def write_log(self, pod: str, container: str, output: bytes) -> None:
        """The container's program prints something."""
        self._logs[self.container(pod, container).id] += output

    def reboot(self) -> None:
        """Everything that ran is gone, without a trace and without an exit code; who waits for a change is cut off, and
        change numbers start anew."""
        for container_id in [*self._containers]:
            self._forget(container_id)
        for sandbox in self._sandboxes.values():
            self._addresses.release(f"{sandbox.namespace}/{sandbox.name}")
        self._sandboxes.clear()
        self._changes = 0
        self._boots += 1
        self._wake()

    # -- Runtime --------------------------------------------------------------------------------------------------

    async def pull_image(self, reference: str) -> Image:
        await self._enter("pull_image")
        return self._image(reference)

    async def run_sandbox(self, spec: SandboxSpec) -> SandboxStatus:
        await self._enter("run_sandbox")
        if spec.uid not in self._sandboxes:
            address = self._addresses.take(f"{spec.namespace}/{spec.name}")
            self._sandboxes[spec.uid] = SandboxStatus(
                uid=spec.uid,
                namespace=spec.namespace,
                name=spec.name,
                ip=address,
                created_at=self._clock.now(),
                volumes=spec.persistent_volumes,
            )
            self.sandbox_specs[spec.uid] = spec
            self.on_sandbox(spec)
        return self._status(spec.uid)

    async def update_volumes(self, sandbox_uid: str, volumes: tuple[Volume, ...]) -> None:
        await self._enter("update_volumes")
        if sandbox_uid not in self._sandboxes:
            raise RuntimeFailure(f"no sandbox {sandbox_uid}")
        fresh = {volume.name: volume for volume in volumes}
        spec = self.sandbox_specs[sandbox_uid]
        self.sandbox_specs[sandbox_uid] = replace(
            spec, volumes=tuple(fresh.get(volume.name, volume) for volume in spec.volumes)
        )

    async def volume_bytes(self, sandbox_uid: str, names: tuple[str, ...]) -> Mapping[str, int]:
        await self._enter("volume_bytes")
        if sandbox_uid not in self._sandboxes:
            raise RuntimeFailure(f"no sandbox {sandbox_uid}")
        return {name: self.stored.get(name, 0) for name in names}

    async def start_container(self, sandbox_uid: str, spec: ContainerSpec) -> ContainerStatus:
        await self._enter("start_container")
        if sandbox_uid not in self._sandboxes:
            raise RuntimeFailure(f"no sandbox {sandbox_uid} on this machine")
        for each in self._containers_of(sandbox_uid):
            if (each.name, each.attempt) == (spec.name, spec.attempt):
                return each
        status = ContainerStatus(
            id=f"{sandbox_uid}-{spec.name}-{spec.attempt}",
            name=spec.name,
            image=spec.image,
            image_id=self._image(spec.image).id,
            attempt=spec.attempt,
            state="running",
            pid=1000 + len(self.container_specs),
            started_at=self._clock.now(),
        )
        program = self.programs.get(spec.image, Program())
        self._containers[status.id] = status
        self.history.append(status)
        self._place[status.id] = sandbox_uid
        self._logs[status.id] = program.output
        self.container_specs[status.id] = spec
        if program.exits_after_seconds is not None:
            self._end_later(status.id, program.exits_after_seconds, exit_code=program.exit_code)
        return status

    async def signal_container(self, container_id: str, signal: int) -> None:
        await self._enter("signal_container")
        status = self._containers.get(container_id)
        if status is None or status.state != "running":
            return
        self.signals.append((status.name, signal))
        program = self.programs.get(status.image, Program())
        if signal == SIGKILL:
            self._end(container_id, exit_code=128 + SIGKILL, signal=SIGKILL)
        elif signal == SIGTERM and program.term_after_seconds is not None:
            by_signal = SIGTERM if program.term_exit_code == 128 + SIGTERM else 0
            self._end_later(
                container_id, program.term_after_seconds, exit_code=program.term_exit_code, signal=by_signal
            )

    async def remove_sandbox(self, sandbox_uid: str) -> None:
        await self._enter("remove_sandbox")
        if sandbox_uid not in self._sandboxes:
            return
        for each in self._containers_of(sandbox_uid):
            self._end(each.id, exit_code=128 + SIGKILL, signal=SIGKILL)
            self._forget(each.id)
        sandbox = self._sandboxes.pop(sandbox_uid)
        self._addresses.release(f"{sandbox.namespace}/{sandbox.name}")
        await asyncio.sleep(self.removal_seconds)

    async def list_sandboxes(self) -> list[SandboxStatus]:
        await self._enter("list_sandboxes")
        return [self._status(uid) for uid in self._sandboxes]

    async def next_change(self, seen: int) -> int:
        await self._enter("next_change")
        boots = self._boots
        while seen == self._changes:
            await self._changed.wait()
            if boots != self._boots:
                raise Unavailable("the machine was rebooted")
        return self._changes

    async def measure(self) -> MachineUsage:
        await self._enter("measure")
        now = self._clock.now()
        running = [each for each in self._containers.values() if each.state == "running"]
        seconds = {each.id: (now - each.started_at) * self.busy.get(each.image, 0.0) for each in running}
        containers = {container_id: ProcessUsage(each, MEBIBYTE) for container_id, each in seconds.items()}
        cpu_seconds = sum(each.cpu_seconds for each in containers.values())
        return MachineUsage(now, ProcessUsage(cpu_seconds, len(running) * MEBIBYTE), containers)

    async def run_command(self, container_id: str, command: tuple[str, ...], timeout_seconds: float) -> ExecResult:
        await self._enter("run_command")
        status = self._containers.get(container_id)
        if status is None or status.state != "running":
            raise RuntimeFailure(f"container {container_id} is not running")
        script = self.commands.get(command, Command())
        if script.seconds > timeout_seconds:
            await asyncio.sleep(timeout_seconds)
            return ExecResult(124, script.output)
        await asyncio.sleep(script.seconds)
        return ExecResult(script.exit_code, script.output)

    async def open_stream(self, request: StreamRequest) -> socket.socket:
        await self._enter("open_stream")
        if isinstance(request, LogRequest):
            for each in self._containers_of(request.sandbox_uid):
                if (each.name, each.attempt) == (request.container, request.attempt):
                    return _spoken(frame(STDOUT, self._logs[each.id]) + succeeded())
            raise NotFound(f"no log of container {request.container!r}, attempt {request.attempt}")
        status = self._containers.get(request.container_id)
        if status is None or status.state != "running":
            raise RuntimeFailure(f"container {request.container_id} is not running")
        if isinstance(request, AttachRequest):
            return _spoken(succeeded())
        script = self.commands.get(request.command, Command())
        return _spoken(frame(STDOUT, script.output) + exited(script.exit_code))

    # -- inside ---------------------------------------------------------------------------------------------------

    async def _enter(self, call: str) -> None:
        """Every call takes at least one turn of the loop, as a call over a wire does."""
        self.calls[call] += 1
        await asyncio.sleep(self.call_seconds)
        if self.silent:
            raise Unavailable("the machine does not answer")
        if self.failures[call]:
            raise self.failures[call].pop(0)

    def _image(self, reference: str) -> Image:
        if reference in self.unknown_images:
            raise ImageNotFound(f"image {reference!r} is not in the catalogue")
        return Image(reference, id=f"fake:{reference}")

    def _containers_of(self, sandbox_uid: str) -> list[ContainerStatus]:
        return [each for each in self._containers.values() if self._place[each.id] == sandbox_uid]

    def _status(self, uid: str) -> SandboxStatus:
        return replace(self._sandboxes[uid], containers=tuple(self._containers_of(uid)))

    def _end_later(self, container_id: str, seconds: float, **how: Any) -> None:
        handle = asyncio.get_running_loop().call_later(seconds, lambda: self._end(container_id, **how))
        self._timers[container_id].append(handle)

    def _end(self, container_id: str, *, exit_code: int, signal: int = 0) -> None:
        status = self._containers[container_id]
        if status.state == "exited":
            return
        self._cancel_timers(container_id)
        self._containers[container_id] = replace(
            status, state="exited", finished_at=self._clock.now(), exit_code=exit_code, signal=signal
        )
        self.history.append(self._containers[container_id])
        self._change()

    def _forget(self, container_id: str) -> None:
        self._cancel_timers(container_id)
        for table in (self._containers, self._place, self._logs):
            table.pop(container_id)

    def _cancel_timers(self, container_id: str) -> None:
        for handle in self._timers.pop(container_id, ()):
            handle.cancel()

    def _change(self) -> None:
        self._changes += 1
        self._wake()

    def _wake(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()


def _spoken(frames: bytes) -> socket.socket:
    """A stream on which everything has been said already."""
    ours, theirs = socket.socketpair()
    with ours:
        ours.sendall(frames)
    return theirs


class FakeProber:
    """Answers probes: by default every pod answers 200 and accepts connections.

    `statuses` maps a URL to a status code; `refused` holds URLs and `host:port` that nobody answers; `seconds` maps
    a URL to the time that its answer takes; `services` says what (`host:port`, gRPC service) answers, else SERVING.
    """

    def __init__(self) -> None:
        self.statuses: dict[str, int] = {}
        self.refused: set[str] = set()
        self.seconds: dict[str, float] = {}
        self.services: dict[tuple[str, str], tuple[int, str]] = {}
        self.requests: list[tuple[str, dict[str, str]]] = []

    async def http_get(self, url: str, headers: dict[str, str], timeout_seconds: float) -> tuple[int, str]:
        self.requests.append((url, headers))
        async with asyncio.timeout(timeout_seconds):
            await asyncio.sleep(self.seconds.get(url, 0.0))
        if url in self.refused:
            raise ConnectionRefusedError(f"connect to {url} refused")
        return self.statuses.get(url, 200), ""

    async def tcp_connect(self, host: str, port: int, timeout_seconds: float) -> None:
        async with asyncio.timeout(timeout_seconds):
            await asyncio.sleep(self.seconds.get(f"{host}:{port}", 0.0))
        if f"{host}:{port}" in self.refused:
            raise ConnectionRefusedError(f"connect to {host}:{port} refused")

    async def grpc_health(self, host: str, port: int, service: str, timeout_seconds: float) -> tuple[int, str]:
        await self.tcp_connect(host, port, timeout_seconds)
        return self.services.get((f"{host}:{port}", service), (0, "SERVING"))
