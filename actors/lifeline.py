"""What ties an actor's life to the supervisor's, and what must go with them both.

Ray's raylets and GCS die with the supervisor (they asked the kernel for it), and each actor exits as soon as it sees
the supervisor's end (pidfd), however slow Ray is to notice. Two helpers of each raylet would linger: Ray 2.60's agents
want to report their raylet's death to the dead GCS, and try for a minute. So every actor takes them along: they are
known by their working folder, which is the supervisor's.

An actor on a further Ray node asks the kernel to die with its raylet as well, at once and even while it is frozen.
Those on the first one do not: they are left to take the agents along.
"""

from __future__ import annotations

import asyncio
import os
import signal
from contextlib import suppress
from dataclasses import dataclass
from typing import NoReturn

import psutil

from petset.cluster.network.syscalls import die_with_parent

_AGENT_MARKS = ("ray::DashboardAgent", "dashboard/agent.py", "ray::RuntimeEnvAgent", "runtime_env/agent/main.py")
"""In a process's command line: its title, or the script before it has set one."""


@dataclass(frozen=True)
class Lifeline:
    """`folder`: where the private Ray's processes were started; "" when a Ray was joined, whose agents stay."""

    supervisor_pid: int
    folder: str = ""
    dies_with_raylet: bool = False

    def hold(self) -> None:
        """From now on, end this process, without clean-up, and the agents, when the supervisor ends."""
        if self.dies_with_raylet:
            die_with_parent(signal.SIGKILL, lambda: psutil.Process(os.getppid()).name() == "raylet")
        try:
            supervisor = os.pidfd_open(self.supervisor_pid)
        except ProcessLookupError:
            self._end()
        asyncio.get_running_loop().add_reader(supervisor, self._end)

    def _end(self) -> NoReturn:
        for agent in find_agents(self.folder):
            with suppress(psutil.NoSuchProcess):  # taken along by another actor
                agent.kill()
        os._exit(1)


def find_agents(folder: str) -> list[psutil.Process]:
    """The agents of all raylets that were started in a folder."""
    return [each for each in psutil.process_iter() if folder and _is_agent(each, folder)]


def _is_agent(process: psutil.Process, folder: str) -> bool:
    try:
        command = " ".join(process.cmdline())
        return any(mark in command for mark in _AGENT_MARKS) and process.cwd() == folder
    except psutil.Error:  # it ended while we looked, or is another user's
        return False
