"""What a machine holds for nobody is found: planted processes and folders."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from petset.cluster.api.cri import SandboxStatus
from petset.cluster.node.leftovers import find_leftovers

PARENT = "import subprocess, time; subprocess.Popen(['sleep', '60']); print('up', flush=True); time.sleep(60)"
KNOWN = SandboxStatus("known", "default", "pet", "10.244.1.2", 1.0)


@pytest.fixture
def parent() -> Iterator[psutil.Process]:
    """A process with a child, in place of a warm parent and a container."""
    with subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE, start_new_session=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"up\n"
        yield psutil.Process(process.pid)
        os.killpg(process.pid, signal.SIGKILL)


def test_a_process_below_nothing_that_runs_is_left_over(tmp_path: Path, parent: psutil.Process) -> None:
    [child] = parent.children()
    found = find_leftovers(tmp_path, [KNOWN], warm_parent_pid=parent.pid, first_pids={child.pid})
    assert found == {"processes": [], "namespaces": [], "folders": []}
    found = find_leftovers(tmp_path, [KNOWN], warm_parent_pid=parent.pid, first_pids=set())
    assert found["processes"] == [{"pid": child.pid, "name": "sleep"}]


def test_children_of_what_runs_are_no_strays(tmp_path: Path, parent: psutil.Process) -> None:
    found = find_leftovers(tmp_path, [], warm_parent_pid=os.getpid(), first_pids={parent.pid})
    mine = {each.pid for each in [parent, *parent.children()]}
    assert mine.isdisjoint(each["pid"] for each in found["processes"])


def test_folders_of_pods_that_nobody_knows_are_left_over(tmp_path: Path) -> None:
    for name in ("pods/known", "pods/gone", "trash/3"):
        (tmp_path / name).mkdir(parents=True)
    found = find_leftovers(tmp_path, [KNOWN], warm_parent_pid=0, first_pids=set())
    assert sorted(each["path"] for each in found["folders"]) == [f"{tmp_path}/pods/gone", f"{tmp_path}/trash/3"]


def test_a_machine_without_a_warm_parent_has_no_processes(tmp_path: Path) -> None:
    found = find_leftovers(tmp_path / "not made yet", [], warm_parent_pid=0, first_pids=set())
    assert found == {"processes": [], "namespaces": [], "folders": []}
