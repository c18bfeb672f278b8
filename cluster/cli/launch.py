"""Starts a cluster's supervisor as a process of its own, and holds the line to it.

    launch = Launch.start(folder, options)      python -m petset.actors.supervisor, in a session of its own
    launch.next_message(wait_seconds)           a phase or a note; LaunchFailed with the reason of a failure
    launch.detach()                             the cluster lives on without this process
    launch.stop()                               SIGTERM, wait, and after a bound SIGKILL of exactly that process

The line is a socket pair (actors/link.py has the other end and the words). Its closing without `detach`, by a crash
of this process too, stops the cluster: nothing half-started is left. The supervisor's errors before it has a log of
its own land in a temporary file, whose last line explains an end without a word.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

import petset
from petset.cluster.settings import ClusterFolder

STOP_SECONDS = 30.0


class LaunchFailed(Exception):
    """The cluster could not be started, or ended by itself; the message is for the user."""


class ClusterStopped(Exception):
    """Somebody else stopped the cluster, as `petset down` does."""


class Launch:
    """A supervisor that this process has started."""

    def __init__(self, process: subprocess.Popen[bytes], line: socket.socket, errors: IO[bytes]) -> None:
        self.process = process
        self._line = line
        self._errors = errors
        self._received = b""
        self._detached = False

    @classmethod
    def start(cls, folder: ClusterFolder, options: Sequence[str]) -> Launch:
        """Start the supervisor of this folder; `options` are its command-line options."""
        ours, theirs = socket.socketpair()
        errors = tempfile.TemporaryFile()  # noqa: SIM115 it lives as long as the launch
        with theirs:
            command = [sys.executable, "-P", "-m", "petset.actors.supervisor", str(folder.root), *options]
            process = subprocess.Popen(
                [*command, "--link", str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=errors,
                stderr=errors,
                cwd="/",
                env=cluster_environment(),
                start_new_session=True,
            )
        return cls(process, ours, errors)

    def next_message(self, wait_seconds: float) -> dict[str, Any] | None:
        """What the supervisor says next; None when it says nothing for so long.

        Raises LaunchFailed with its error, or when it has ended without one; ClusterStopped when it ended well.
        """
        deadline = time.monotonic() + wait_seconds
        while b"\n" not in self._received:
            remaining = max(0.0, deadline - time.monotonic())
            if not select.select([self._line], [], [], remaining)[0]:
                return None
            chunk = self._line.recv(65536)
            if not chunk:
                raise self._how_it_ended()
            self._received += chunk
        line, _, self._received = self._received.partition(b"\n")
        message: dict[str, Any] = json.loads(line)
        if "error" in message:
            raise LaunchFailed(str(message["error"]))
        return message

    def detach(self) -> None:
        """Let the cluster live on without this process."""
        self._line.sendall(b'{"detach": true}\n')
        self._detached = True
        self._close()

    def stop(self) -> None:
        """Stop the cluster, unless detached, and wait for its end."""
        if self._detached:
            return
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self._close()

    def _close(self) -> None:
        self._line.close()
        self._errors.close()

    def _how_it_ended(self) -> Exception:
        status = self.process.wait()
        if status == 0:
            return ClusterStopped("the cluster was stopped")
        self._errors.seek(0)
        lines = self._errors.read().decode(errors="replace").strip().splitlines()
        return LaunchFailed(f"the supervisor ended with status {status}" + (f": {lines[-1]}" if lines else ""))


def cluster_environment() -> dict[str, str]:
    """This process's environment; a petset that runs from its source tree, not installed, is put on the path."""
    environment = dict(os.environ)
    try:
        importlib.metadata.distribution("petset")
    except importlib.metadata.PackageNotFoundError:
        root = str(Path(petset.__file__).parent.parent)
        known = environment.get("PYTHONPATH")
        environment["PYTHONPATH"] = os.pathsep.join([root, known] if known else [root])
    return environment
