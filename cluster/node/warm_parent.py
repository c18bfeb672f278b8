"""A node's container runtime: one small process that holds everything loaded and forks containers.

    Machine ──stream of frames──► warm parent ──fork──► container, container, …      each with its own session
       └── Popen ──► guard ──fork──┘                        └─► whatever they start

`python -m petset.cluster.node.warm_parent FD FD MACHINE_PID` becomes the *guard*; the guard forks the warm parent,
which imports the guests once and freezes them, so that a container costs a fork (5 ms) instead of a Python start
(160 ms).

Who dies with whom, by the kernel's doing:

- a container's first process dies with the warm parent (SIGKILL);
- every first process inherits its own orphans, so when it ends, all that it left becomes the warm parent's child;
  an unknown child is killed on sight, until none is left. Only then is the exit reported: a container that counts as
  exited is gone with all its descendants, setsid or not, as with a PID namespace;
- when the warm parent dies, the same orphans fall to the guard, which kills them and ends after the last;
- when the machine dies, the guard gets SIGTERM and does the same;
- when the guard dies, the warm parent gets SIGTERM and does the same: whichever of the two goes first, the other
  cleans;
- when both are killed at the same moment, the orphans fall to the machine's process (warm_link.py).

On a network of namespaces a container's first process, its program, is PID 1 of a PID namespace (isolation.py), and the
kernel ends everything in there with it. Limits without: machine, guard and warm parent killed at the same moment end
the first processes, but not what they started; a process that changed its user cannot be signalled by an unprivileged
node; every process sees the host's process table; and SIGTERM ends a first process that has no handler for it, where a
real PID 1 would ignore it. A process that does not die of SIGKILL within ORPHAN_SECONDS (a dead disk) no longer holds
back the report.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys

from petset.cluster.node import kernel

_GUARD_SIGNALS = frozenset({signal.SIGTERM, signal.SIGINT, signal.SIGCHLD})


def guard(warm_parent_pid: int) -> None:
    """Wait for the end of the warm parent, or end it when told to; then kill everything that fell to us."""
    told = signal.sigwait(_GUARD_SIGNALS)
    while told == signal.SIGCHLD and os.waitpid(warm_parent_pid, os.WNOHANG) == (0, 0):
        told = signal.sigwait(_GUARD_SIGNALS)
    kernel.end_all_children()


def main(arguments: list[str]) -> None:
    channel_fd, passing_fd, machine_pid = (int(argument) for argument in arguments)
    signal.pthread_sigmask(signal.SIG_BLOCK, _GUARD_SIGNALS)
    kernel.become_subreaper()
    kernel.die_with_parent(signal.SIGTERM, machine_pid)
    guard_pid = os.getpid()
    warm_parent_pid = os.fork()
    if warm_parent_pid != 0:
        os.close(channel_fd)
        os.close(passing_fd)
        guard(warm_parent_pid)
        return
    kernel.die_with_parent(signal.SIGTERM, guard_pid)
    kernel.become_subreaper()
    kernel.default_signals()
    from petset.cluster.node.warm_loop import serve  # after the fork: the guard stays small

    with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # the machine is gone
        serve(channel_fd, passing_fd)


if __name__ == "__main__":
    main(sys.argv[1:])
