"""Stopping processes where they stand (SIGSTOP), and letting them go on (SIGCONT).

    find ─▶ stop what is fresh ─▶ wait until it stands ─▶ find again, until nothing is fresh

A process that forks while it is being stopped is found in the next round. What somebody else has stopped is theirs: it
is neither stopped nor let go here.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterable, Sequence

import psutil

from petset.cluster.chaos.errors import CannotHere
from petset.cluster.chaos.pods import is_frozen, wait_until_frozen

_PASSES = 20


def freeze_all(find: Callable[[], Sequence[psutil.Process]]) -> list[psutil.Process]:
    """Stop all that `find` finds, parents before children; what was stopped here. Blocks. Raises CannotHere."""
    frozen: dict[psutil.Process, None] = {}
    try:
        for _ in range(_PASSES):
            fresh = [each for each in find() if each not in frozen and not is_frozen(each)]
            if not fresh:
                break
            frozen |= dict.fromkeys(each for each in fresh if send_signal(each, signal.SIGSTOP))
            wait_until_frozen(fresh)
    except CannotHere:
        thaw_all(frozen)
        raise
    return [*frozen]


def thaw_all(frozen: Iterable[psutil.Process]) -> None:
    """Children before parents, as they come last."""
    for process in reversed([*frozen]):
        send_signal(process, signal.SIGCONT)


def send_signal(process: psutil.Process, number: signal.Signals) -> bool:
    """Whether it was still there. Raises CannotHere when it is another user's."""
    try:
        process.send_signal(number)
    except psutil.NoSuchProcess:
        return False
    except psutil.AccessDenied as error:
        raise CannotHere(f"process {process.pid} belongs to another user") from error
    return True
