"""A cluster in somebody else's Ray: it comes up there, and its end leaves that Ray alone."""

from __future__ import annotations

import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.on_ray.driver import Driver, eventually


@contextmanager
def someone_elses_ray(folder: Path) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """A Ray of its own on the loopback; its address and its process."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [
        str(Path(sys.executable).with_name("ray")), "start", "--head", "--block", f"--port={port}",
        "--include-dashboard=false", "--num-cpus=12", f"--temp-dir={folder}",
    ]  # fmt: skip
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            eventually(lambda: _listens(port), "the other Ray listens")
            yield f"127.0.0.1:{port}", process
        finally:
            process.terminate()


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture
def loopback_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    """What both sides need to agree on: the address of the node, and how they know each other."""
    for name, value in {
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
        "RAY_AUTH_MODE": "disabled",
        "RAY_USAGE_STATS_ENABLED": "0",
    }.items():
        monkeypatch.setenv(name, value)


@pytest.mark.usefixtures("loopback_ray")
def test_a_cluster_joins_and_leaves_another_ray(petset: Driver) -> None:
    with (
        tempfile.TemporaryDirectory(prefix="ray-", dir="/tmp", ignore_cleanup_errors=True) as folder,
        someone_elses_ray(Path(folder)) as (address, ray),
    ):
        petset.succeed("up", "guest", "--detach", "--nodes", "1", "--port", "0", "--ray-address", address)
        assert len(petset.cluster("guest").request("/api/v1/nodes")["items"]) == 1
        petset.succeed("down", "guest", "--purge", "--yes")
        assert not petset.cluster("guest").folder.root.exists()
        assert ray.poll() is None, "the other Ray goes on"
