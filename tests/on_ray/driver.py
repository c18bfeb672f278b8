"""Drives real clusters through the `petset` command, as a user would, and looks at their processes.

Here real time passes: `eventually` polls, and every wait is bounded.
"""

from __future__ import annotations

import json
import os
import re
import signal
import ssl
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import psutil

import petset
from petset.cluster import lock
from petset.cluster.pki import ADMIN, client_context, token_of
from petset.cluster.settings import ClusterFolder

WAIT_SECONDS = 60.0

_Answer = TypeVar("_Answer")


def eventually(look: Callable[[], _Answer | None], what: str, seconds: float = WAIT_SECONDS) -> _Answer:
    """What `look` answers once it is true."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if answer := look():
            return answer
        time.sleep(0.05)
    raise AssertionError(f"not within {seconds:.0f} s: {what}")


@dataclass(frozen=True)
class Driver:
    """The `petset` command with a home of its own, as this user or as one without privileges.

    Clusters are brought up on `network` unless the command says otherwise: PETSET_TESTS_NETWORK=namespaces runs all
    tests of this folder there.
    """

    home: Path
    network: str = os.environ.get("PETSET_TESTS_NETWORK", "loopback")
    unprivileged: bool = False

    def command(self, *arguments: str) -> list[str]:
        user = [sys.executable, "-m", "tests.unprivileged"] if self.unprivileged else []
        network = [f"--network={self.network}"] if arguments[0] == "up" else []
        return [*user, sys.executable, "-m", "petset", *arguments, *network]

    @property
    def environment(self) -> dict[str, str]:
        root = str(Path(petset.__file__).parent.parent)
        return {**os.environ, "PETSET_HOME": str(self.home), "PYTHONPATH": root}

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command(*arguments), env=self.environment, capture_output=True, text=True, timeout=180, check=False
        )

    def succeed(self, *arguments: str) -> str:
        done = self.run(*arguments)
        assert done.returncode == 0, f"petset {' '.join(arguments)}: {done.stderr}{self.logs()}"
        return done.stdout

    @contextmanager
    def in_foreground(self, *arguments: str) -> Iterator[subprocess.Popen[str]]:
        """The command while it runs; its output is merged. Killed at the end if it is still there."""
        process = subprocess.Popen(
            self.command(*arguments), env=self.environment, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        with process:
            try:
                yield process
            finally:
                process.kill()

    def cluster(self, name: str) -> RealCluster:
        return RealCluster(ClusterFolder(self.home / name))

    def is_up(self, name: str) -> bool:
        """Whether its supervisor lives."""
        return lock.holder(ClusterFolder(self.home / name).lock) is not None

    def logs(self) -> str:
        """The ends of all logs, for the message of a failed test."""
        files = sorted(self.home.glob("*/log/*.log"))
        return "".join(f"\n== {file}\n{file.read_text()[-1500:]}" for file in files)


@dataclass(frozen=True)
class RealCluster:
    """One cluster that runs."""

    folder: ClusterFolder

    @property
    def name(self) -> str:
        return self.folder.root.name

    @property
    def supervisor(self) -> psutil.Process:
        process_id = lock.holder(self.folder.lock)
        assert process_id is not None, f"{self.name} does not run"
        return psutil.Process(process_id)

    def processes(self) -> list[psutil.Process]:
        """The supervisor and everything below it."""
        return [self.supervisor, *self.supervisor.children(recursive=True)]

    def actor_pid(self, name: str) -> int:
        """The process of the actor's newest life, as the supervisor logged it; 0 before the first.

        In namespaces: the process on the host that has this number in there; 0 also when it has ended.
        """
        log = (self.folder.log / "supervisor.log").read_text()
        found = re.findall(rf"INFO petset\.actors\.keeper: {name} is ready, process (\d+)", log)
        number = int(found[-1]) if found else 0
        return self._on_host(number) if number and self.folder.read_settings().has_namespaces else number

    def _on_host(self, inside_pid: int) -> int:
        for process in self.processes():
            with suppress(OSError):
                status = Path(f"/proc/{process.pid}/status").read_text()
                if status.partition("NSpid:")[2].split("\n")[0].split() == [str(process.pid), str(inside_pid)]:
                    return process.pid
        return 0

    def request(self, path: str, body: dict[str, Any] | None = None, *, method: str = "") -> dict[str, Any]:
        """GET, or POST with a body, or `method`, as the administrator."""
        answer: dict[str, Any] = json.loads(self.text(path, body, method=method))
        return answer

    def text(
        self, path: str, body: dict[str, Any] | None = None, *, method: str = "", timeout_seconds: float = 10.0
    ) -> str:
        """The same, of an answer that need not be JSON."""
        settings = self.folder.read_settings()
        request = urllib.request.Request(
            settings.server + path,
            method=method or None,
            data=None if body is None else json.dumps(body).encode(),
            headers={
                "Authorization": f"Bearer {token_of(self.folder, ADMIN)}",
                "Content-Type": "application/json",
            },
        )
        context: ssl.SSLContext = client_context(self.folder)
        with urllib.request.urlopen(request, context=context, timeout=timeout_seconds) as response:
            return str(response.read().decode())

    @contextmanager
    def namespace(self, name: str) -> Iterator[str]:
        """The path of a new Kubernetes namespace; it goes with everything in it, soon after the end."""
        self.request("/api/v1/namespaces", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
        try:
            yield f"/api/v1/namespaces/{name}"
        finally:
            self.request(f"/api/v1/namespaces/{name}", method="DELETE")

    def kill(self, process_name: str) -> None:
        """SIGKILL for the one process of that name below the supervisor."""
        [process] = [each for each in self.processes() if each.name() == process_name]
        process.send_signal(signal.SIGKILL)


def survivors(processes: list[psutil.Process]) -> list[str]:
    """Those that still run; a zombie is dead."""
    alive = []
    for process in processes:
        try:
            if process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
                alive.append(f"{process.pid} {process.name()}")
        except psutil.NoSuchProcess:
            continue
    return alive


def assert_all_end(processes: list[psutil.Process], seconds: float = 20.0) -> None:
    eventually(lambda: not survivors(processes), f"the end of {survivors(processes)}", seconds)
