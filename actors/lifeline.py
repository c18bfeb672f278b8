"""What ties an actor's life to the supervisor's, and what must go with them both.

Ray's raylet and GCS die with the supervisor (they asked the kernel for it), and each actor exits as soon as it sees
the supervisor's end (pidfd), however slow Ray is to notice. Two helpers of the raylet would linger: Ray 2.60's agents
want to report their raylet's death to the dead GCS, and try for a minute. So every actor takes them along.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NoReturn

import psutil

_AGENT_MARKS = ("ray::DashboardAgent", "dashboard/agent.py", "ray::RuntimeEnvAgent", "runtime_env/agent/main.py")
"""In a process's command line: its title, or the script before it has set one."""


@dataclass(frozen=True)
class Lifeline:
    """Process ids: the supervisor's, and those of the private Ray's agents (none when a Ray was joined)."""

    supervisor_pid: int
    agent_pids: tuple[int, ...] = ()

    def hold(self) -> None:
        """From now on, end this process, without clean-up, and the agents, when the supervisor ends."""
        agents = [descriptor for pid in self.agent_pids if (descriptor := _open(pid)) is not None]
        supervisor = _open(self.supervisor_pid)
        if supervisor is None:
            _end(agents)
        asyncio.get_running_loop().add_reader(supervisor, _end, agents)


def find_agents() -> tuple[int, ...]:
    """The agents of the Ray that this process has started."""
    below = psutil.Process().children(recursive=True)
    return tuple(process.pid for process in below if _is_agent(process))


def _is_agent(process: psutil.Process) -> bool:
    try:
        command = " ".join(process.cmdline())
    except psutil.Error:  # it ended while we looked
        return False
    return any(mark in command for mark in _AGENT_MARKS)


def _open(process_id: int) -> int | None:
    try:
        return os.pidfd_open(process_id)
    except ProcessLookupError:
        return None


def _end(agents: Sequence[int]) -> NoReturn:
    for descriptor in agents:
        try:
            signal.pidfd_send_signal(descriptor, signal.SIGKILL)
        except ProcessLookupError:
            continue  # gone already, or taken along by another actor
    os._exit(1)
