"""Reaching into the namespaces of a running cluster from a test."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from tests.on_ray.driver import Driver, RealCluster
from tests.unprivileged import NOBODY

USERS = ["as this user", "unprivileged"]

_FAULT = """
import sys
from pathlib import Path
from petset.cluster.network.addresses import OWN_PLAN
from petset.cluster.network.faults import Faults
name, *arguments = sys.argv[2:]
getattr(Faults(OWN_PLAN, Path(sys.argv[1])), name)(*(int(each) if each.isdecimal() else each for each in arguments))
"""
_CABLES = """
import socket, sys
from petset.cluster.network import syscalls
with syscalls.visiting(f"{sys.argv[1]}/node-{sys.argv[2]}"):
    print(sum(name.startswith("pod") and name != "pods" for _, name in socket.if_nameindex()))
"""


@contextmanager
def driver_of(user: str) -> Iterator[Driver]:
    """The command with a home of its own, as one of USERS; clusters are brought up in namespaces."""
    with tempfile.TemporaryDirectory() as folder:
        unprivileged = user == "unprivileged" and os.geteuid() == 0
        if unprivileged:
            os.chown(folder, NOBODY, NOBODY)
        yield Driver(Path(folder), "namespaces", unprivileged)


def init_of(cluster: RealCluster) -> psutil.Process:
    """PID 1 inside: the supervisor's child's child."""
    [gate] = cluster.supervisor.children()
    [init] = gate.children()
    return init


def fault(cluster: RealCluster, name: str, *arguments: object) -> None:
    """Call a method of `Faults` inside."""
    _run(cluster, _FAULT, name, *map(str, arguments))


def pod_cables(cluster: RealCluster, node_number: int) -> int:
    """How many pods are plugged into a node's bridge."""
    return int(_run(cluster, _CABLES, str(node_number)))


def _run(cluster: RealCluster, program: str, *arguments: str) -> str:
    kinds = ["--user"] if os.geteuid() != 0 else []
    enter = ["nsenter", f"--target={init_of(cluster).pid}", *kinds, "--net", "--mount", "--pid"]
    command = [*enter, sys.executable, "-c", program, str(cluster.folder.read_settings().fabric), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout
