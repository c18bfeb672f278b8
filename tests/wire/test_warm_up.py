"""What the warm parent does before it forks must not show afterwards: every pod would inherit it."""

from __future__ import annotations

import logging
import os
import signal
import socket
import threading
from typing import Any

from petset.cluster.node.warm_up import warm_up


def surroundings() -> dict[str, Any]:
    root = logging.getLogger()
    return {
        "threads": threading.enumerate(),
        "descriptors": sorted(os.listdir("/proc/self/fd")),
        "signals": {number: signal.getsignal(number) for number in signal.valid_signals()},
        "logging": ([*root.handlers], root.level),
    }


def test_a_warm_up_leaves_everything_as_it_was() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.setblocking(False)
        before_us = signal.set_wakeup_fd(theirs.fileno())
        try:
            before = surroundings()
            warm_up()
            assert surroundings() == before
        finally:
            assert signal.set_wakeup_fd(before_us) == theirs.fileno()
