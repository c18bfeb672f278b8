"""What the warm parent does before it forks, and what it was born with, must not show: every pod would inherit it."""

from __future__ import annotations

import logging
import os
import signal
import socket
import threading
from pathlib import Path
from typing import Any

from petset.cluster.node.warm_up import warm_up
from tests.wire.machine_site import PATIENCE_SECONDS, SITES, boot, process_status, start


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


async def test_programs_are_not_deaf_to_what_the_cluster_ignores(tmp_path: Path) -> None:
    """A script's background jobs ignore SIGINT, what nohup starts SIGHUP."""
    before = {number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGINT, signal.SIGHUP)}
    try:
        async with boot(tmp_path, SITES["loopback"]) as machine:
            status = await start(machine, "test/serve")
            said = await machine.run_command(status.id, ("grep", "SigIgn", "/proc/self/status"), PATIENCE_SECONDS)
            python = process_status(status.pid).splitlines()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    assert ignored(said.output.decode()) == set()
    [line] = [line for line in python if line.startswith("SigIgn:")]
    assert ignored(line) == {signal.SIGPIPE, signal.SIGXFSZ}


def ignored(line: str) -> set[int]:
    """Of the signals that a program may choose to ignore: the C library keeps two for itself."""
    bits = int(line.split()[1], 16)
    return {number for number in signal.valid_signals() if bits >> number - 1 & 1}
