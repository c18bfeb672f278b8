"""An emulated machine: the `Runtime` of one kubelet, with real processes, files and addresses.

    kubelet ── run_sandbox ────► address (Network), folders and files (sandbox.py)
            ── start_container ► program (images.py) ─► a fork of the warm parent (warm_parent.py)
            ◄─ next_change ───── exits, numbered
            ── list_sandboxes ─► what is there now

State is changed in plain functions, without an `await` inside, by the two futures of each process (started, ended)
and by the calls; so a caller that gives up half-way leaves nothing half-done, and repeating a call is safe.

The warm parent is supervised: when it dies, all containers have exited with signal 9 and another one is booted;
calls that need it wait for that, READY_SECONDS at the most. The machine remembers nothing over a restart of its own:
all its processes are dead by then (warm_parent.py), and it begins with an empty folder. Persistent disks stay.

Bounds: of each container, the newest KEPT_ATTEMPTS attempts are kept (records, logs, private files);
MAX_COMMANDS commands run at a time, further ones wait for their turn; logs and streams have bounds of their own
(log_file.py, streams.py). An exit is recorded once the last output is in the log, OUTPUT_SECONDS later at the most.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from petset.cluster.api.cri import (
    TIMEOUT_EXIT_CODE,
    AttachRequest,
    ContainerSpec,
    ContainerStatus,
    CreationFailure,
    ExecRequest,
    ExecResult,
    Image,
    LogRequest,
    MachineUsage,
    RuntimeFailure,
    SandboxSpec,
    SandboxStatus,
    StreamRequest,
    Volume,
)
from petset.cluster.clock import Clock
from petset.cluster.errors import NotFound
from petset.cluster.network.network import Network
from petset.cluster.node.container_io import ContainerIo
from petset.cluster.node.containers import Container, Sandbox, command_launch, container_id, created, make_launch
from petset.cluster.node.descriptors import open_stdio
from petset.cluster.node.disks import MachineDisks
from petset.cluster.node.images import Images
from petset.cluster.node.last_words import last_words, words_of
from petset.cluster.node.leftovers import find_leftovers
from petset.cluster.node.log_file import LogFile
from petset.cluster.node.places import PodPlaces
from petset.cluster.node.sandbox import container_paths
from petset.cluster.node.streams import StreamServer
from petset.cluster.node.usage import measure_machine
from petset.cluster.node.warm_link import Exit, WarmLink
from petset.cluster.trees import remove_tree

READY_SECONDS = 20.0
REMOVE_SECONDS = 10.0
KEPT_ATTEMPTS = 2
MAX_COMMANDS = 64
OUTPUT_SECONDS = 2.0
NOT_FOUND_EXIT_CODE = 127
_BOOT_BACKOFF_SECONDS = (0.0, 0.1, 0.5, 1.0, 5.0)


class Machine:
    """Node `name`'s machine; `async with` boots it and ends it with everything on it.

    `folder` is its own and is emptied at the start; `volumes` is the cluster's.
    """

    def __init__(
        self, name: str, *, folder: Path, volumes: Path, network: Network, catalogue: Images, clock: Clock,
        disk_faults: bool = False,
    ) -> None:  # fmt: skip
        self.name = name
        self._folder = folder
        self._places = PodPlaces(folder, volumes, network)
        self._catalogue = catalogue
        self._clock = clock
        self._sandboxes: dict[str, Sandbox] = {}
        self.disks = MachineDisks(name, volumes, self._sandboxes, self._kill_all, has_faults=disk_faults)
        self._making = asyncio.Lock()
        self._changes = 0
        self._changed = asyncio.Event()
        self._link: WarmLink | None = None
        """None while a warm parent is being booted."""
        self._linked = asyncio.Event()
        self._command_turns = asyncio.Semaphore(MAX_COMMANDS)
        self._command_numbers = count(1)
        self._streams = StreamServer()
        self._running = contextlib.AsyncExitStack()

    async def __aenter__(self) -> Self:
        await asyncio.to_thread(self._places.clean)
        self._running.push_async_callback(self._places.close)
        supervisor = asyncio.create_task(self._supervise(), name=f"{self.name}: warm parent")
        supervisor.add_done_callback(self._supervisor_ended)
        self._running.push_async_callback(self._stop, supervisor)
        self._running.push_async_callback(self._streams.close)
        try:
            await self._wait_link()
        except BaseException:
            await self._running.aclose()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._running.aclose()

    # -- Runtime --------------------------------------------------------------------------------------------------

    async def pull_image(self, reference: str) -> Image:
        return self._catalogue.find(reference)[0]

    async def run_sandbox(self, spec: SandboxSpec) -> SandboxStatus:
        if spec.uid not in self._sandboxes:
            await self._places.prepare_disks(spec)
        async with self._making:  # one at a time: whose address is whose follows from who came first
            sandbox = self._sandboxes.get(spec.uid)
            if sandbox is None:
                key = "" if spec.host_network else self._free_network_key(spec)
                sandbox = await self._places.make(spec, key, created_at=self._clock.now())
                self._sandboxes[spec.uid] = sandbox
        return sandbox.status()

    async def update_volumes(self, sandbox_uid: str, volumes: tuple[Volume, ...]) -> None:
        sandbox = self._sandbox(sandbox_uid)
        sandbox.folder.update(volumes, group=sandbox.spec.group)

    async def volume_bytes(self, sandbox_uid: str, names: tuple[str, ...]) -> Mapping[str, int]:
        return await asyncio.to_thread(self._sandbox(sandbox_uid).folder.stored_bytes, names)

    async def start_container(self, sandbox_uid: str, spec: ContainerSpec) -> ContainerStatus:
        """A program that cannot be started leaves a container that exited with code 128, and raises RuntimeFailure."""
        sandbox = self._sandbox(sandbox_uid)
        container = sandbox.containers.get((spec.name, spec.attempt))
        if container is None:
            link = await self._wait_link()
            sandbox = self._sandbox(sandbox_uid)
            container = sandbox.containers.get((spec.name, spec.attempt)) or self._start(link, sandbox, spec)
        await asyncio.shield(container.process.started)
        if container.start_error:
            raise RuntimeFailure(f"failed to start container {spec.name!r}: {container.start_error}")
        return container.status

    async def signal_container(self, container_id: str, signal: int) -> None:
        container = self._find(container_id)
        if container is not None and self._link is not None:
            self._link.signal(container_id, signal)

    async def remove_sandbox(self, sandbox_uid: str) -> None:
        sandbox = self._sandboxes.get(sandbox_uid)
        if sandbox is None:
            return
        sandbox.removing = True
        await self._kill_all(sandbox)
        async with self._making:  # a successor of that name must not be given the place while it is being left
            if self._sandboxes.get(sandbox_uid) is not sandbox:  # somebody else removed it meanwhile
                return
            trash = await self._places.leave(sandbox)
            del self._sandboxes[sandbox_uid]
        for container in sandbox.containers.values():
            container.io.close()
        with contextlib.suppress(OSError):  # what cannot be removed stays in the trash (leftovers.py)
            await asyncio.to_thread(remove_tree, trash)

    async def list_sandboxes(self) -> list[SandboxStatus]:
        return [sandbox.status() for sandbox in self._sandboxes.values()]

    async def next_change(self, seen: int) -> int:
        while seen == self._changes:
            await self._changed.wait()
        return self._changes

    async def measure(self) -> MachineUsage:
        guard_pid = self._link.guard_pid if self._link else 0
        sandboxes = await self.list_sandboxes()
        return await asyncio.to_thread(measure_machine, guard_pid, sandboxes, taken_at=self._clock.now())

    async def run_command(self, container_id: str, command: tuple[str, ...], timeout_seconds: float) -> ExecResult:
        """Run a program of the host in the container's environment and folder; what it leaves behind is killed."""
        container = self._find(container_id)
        link = self._link
        if container is None or container.status.state != "running" or link is None:
            raise RuntimeFailure(f"container {container_id} is not running")
        async with self._command_turns:
            return await self._run(link, container, command, timeout_seconds)

    async def open_stream(self, request: StreamRequest) -> socket.socket:
        if isinstance(request, LogRequest):
            return self._streams.log(self._log_of(request), request)
        container, link = self._find(request.container_id), self._link
        if container is None or container.status.state != "running" or link is None:
            raise RuntimeFailure(f"container {request.container_id} is not running")
        match request:
            case ExecRequest():
                return self._streams.run(link, container, request)
            case AttachRequest():
                return self._streams.attach(container, request)

    # -- the machine's other side ---------------------------------------------------------------------------------

    @property
    def warm_parent_pid(self) -> int:
        """The process that all containers come from, 0 while there is none. Killing it kills them all."""
        return self._link.pid if self._link is not None else 0

    async def leftovers(self) -> dict[str, list[dict[str, Any]]]:
        """What is here and belongs to no pod that is here (leftovers.py)."""
        first_pids = self._link.first_pids if self._link is not None else frozenset()
        find = partial(find_leftovers, network_namespace=self._places.node_namespace, first_pids=first_pids)
        sandboxes = await self.list_sandboxes()
        return await asyncio.to_thread(find, self._folder, sandboxes, warm_parent_pid=self.warm_parent_pid)

    # -- sandboxes ------------------------------------------------------------------------------------------------

    def _sandbox(self, uid: str) -> Sandbox:
        sandbox = self._sandboxes.get(uid)
        if sandbox is None or sandbox.removing:
            raise RuntimeFailure(f"no sandbox {uid} on {self.name}")
        return sandbox

    def _free_network_key(self, spec: SandboxSpec) -> str:
        """The pod's name; one of its own while a predecessor of that name is still here (a forced deletion)."""
        key = f"{spec.namespace}/{spec.name}"
        in_use = any(sandbox.network_key == key for sandbox in self._sandboxes.values())
        return f"{key}/{spec.uid}" if in_use else key

    async def _kill_all(self, sandbox: Sandbox) -> None:
        alive = [container for container in sandbox.containers.values() if not container.process.ended.done()]
        for container in alive:
            if self._link is not None:
                self._link.signal(container.process.id, signal.SIGKILL)
        if not alive:
            return
        _, pending = await asyncio.wait([container.process.ended for container in alive], timeout=REMOVE_SECONDS)
        if pending:
            raise RuntimeFailure(f"{len(pending)} containers of pod {sandbox.spec.name} do not die")

    # -- containers -----------------------------------------------------------------------------------------------

    def _find(self, container_id: str) -> Container | None:
        everyone = (each for sandbox in self._sandboxes.values() for each in sandbox.containers.values())
        return next((container for container in everyone if container.status.id == container_id), None)

    def _log_of(self, request: LogRequest) -> LogFile:
        sandbox = self._sandboxes.get(request.sandbox_uid)
        container = sandbox.containers.get((request.container, request.attempt)) if sandbox else None
        if container is None:
            raise NotFound(f"no log of container {request.container!r}, attempt {request.attempt}")
        return container.io.log

    def _start(self, link: WarmLink, sandbox: Sandbox, spec: ContainerSpec) -> Container:
        self.disks.check(sandbox)
        image, program = self._catalogue.find(spec.image)
        self._forget_old_attempts(sandbox, spec)
        its_id = container_id(sandbox.spec.uid, spec.name, spec.attempt)
        try:
            paths = container_paths(sandbox.folder, spec, sandbox.volumes)
            stdio = open_stdio(stdin=spec.stdin, tty=spec.tty)
        except (OSError, RuntimeFailure) as error:
            raise CreationFailure(f"cannot create container {spec.name!r}: {error}") from error
        try:
            launch = make_launch(its_id, spec=spec, program=program, sandbox=sandbox, paths=paths, stdio=stdio)
            process = self.disks.launch(link, launch, sandbox, spec=spec, paths=paths, stdio=stdio)
        except (OSError, RuntimeFailure) as error:
            stdio.close()
            raise CreationFailure(f"cannot create container {spec.name!r}: {error}") from error
        stdio.handed_over()
        status = created(its_id, spec, image)
        log = LogFile(sandbox.folder.log(spec.name, spec.attempt), self._clock)
        output = ContainerIo(stdio, log, stdin_once=spec.stdin_once, name=f"{sandbox.spec.name}/{spec.name}")
        container = Container(status, launch, process, output, words_of(sandbox.folder, spec))
        sandbox.containers[spec.name, spec.attempt] = container
        container.process.started.add_done_callback(lambda future: self._record_start(container, future.result()))
        container.process.ended.add_done_callback(lambda future: self._note_exit(container, future.result()))
        return container

    def _forget_old_attempts(self, sandbox: Sandbox, spec: ContainerSpec) -> None:
        for (name, attempt), container in [*sandbox.containers.items()]:
            old = name == spec.name and attempt <= spec.attempt - KEPT_ATTEMPTS
            if old and container.status.state == "exited":
                sandbox.folder.forget_attempt(name, attempt)
                del sandbox.containers[name, attempt]

    def _record_start(self, container: Container, pid: int) -> None:
        if pid == 0:  # it never ran; its end, with the reason, follows
            return
        container.status = replace(container.status, state="running", pid=pid, started_at=self._clock.now())

    def _note_exit(self, container: Container, how: Exit) -> None:
        """The processes are gone; what they left in their pipes is still on its way into the log."""
        container.start_error = how.start_error
        loop, output = asyncio.get_running_loop(), container.io.done
        if output.done() or how.start_error:
            self._record_exit(container, how)
            return
        patience = loop.call_later(OUTPUT_SECONDS, self._record_exit, container, how)
        output.add_done_callback(lambda _: patience.cancel())
        output.add_done_callback(lambda _: self._record_exit(container, how))

    def _record_exit(self, container: Container, how: Exit) -> None:
        if container.status.state == "exited":
            return
        container.status = replace(
            container.status,
            state="exited",
            finished_at=self._clock.now(),
            exit_code=how.exit_code,
            signal=how.signal,
            message=how.message or last_words(container.words, container.io.log, failed=how.exit_code != 0),
        )
        self._change()

    async def _run(
        self, link: WarmLink, container: Container, command: tuple[str, ...], timeout_seconds: float
    ) -> ExecResult:
        launch = command_launch(container, command, str(next(self._command_numbers)))
        process = link.launch(launch)
        try:
            await asyncio.wait([process.ended], timeout=timeout_seconds)
            timed_out = not process.ended.done()
        finally:
            link.signal(launch.id, signal.SIGKILL)  # also when the caller gave up
        await asyncio.wait([process.ended], timeout=REMOVE_SECONDS)
        if not process.ended.done():  # not even SIGKILL ended it
            return ExecResult(TIMEOUT_EXIT_CODE)
        how = process.ended.result()
        if timed_out:
            return ExecResult(TIMEOUT_EXIT_CODE, how.output)
        if how.start_error:
            return ExecResult(NOT_FOUND_EXIT_CODE, how.start_error.encode())
        return ExecResult(how.exit_code, how.output)

    # -- life -----------------------------------------------------------------------------------------------------

    async def _supervise(self) -> None:
        """Boot a warm parent whenever there is none; boots that fail in a row wait ever longer."""
        failures = 0
        while True:
            await asyncio.sleep(_BOOT_BACKOFF_SECONDS[min(failures, len(_BOOT_BACKOFF_SECONDS) - 1)])
            try:
                link = await WarmLink.boot(log=self._log, modules=self._catalogue.python_modules)
            except RuntimeFailure:  # the reason is in its log
                failures += 1
                continue
            failures = 0
            self._link = link
            self._linked.set()
            try:
                await link.wait_dead()
            except asyncio.CancelledError:
                await link.close()
                raise
            finally:
                self._link = None
                self._linked.clear()

    async def _wait_link(self) -> WarmLink:
        try:
            async with asyncio.timeout(READY_SECONDS):
                while self._link is None:
                    await self._linked.wait()
        except TimeoutError:
            raise RuntimeFailure(f"the container runtime of {self.name} does not start; see {self._log}") from None
        return self._link

    async def _stop(self, supervisor: asyncio.Task[None]) -> None:
        supervisor.cancel()
        await asyncio.wait([supervisor])

    def _supervisor_ended(self, supervisor: asyncio.Task[None]) -> None:
        if not supervisor.cancelled() and (error := supervisor.exception()):  # a bug; calls fail after READY_SECONDS
            message = f"{self.name} lost its container runtime"
            supervisor.get_loop().call_exception_handler({"message": message, "exception": error})

    @property
    def _log(self) -> Path:
        return self._folder / "warm-parent.log"

    def _change(self) -> None:
        self._changes += 1
        self._changed.set()
        self._changed = asyncio.Event()
