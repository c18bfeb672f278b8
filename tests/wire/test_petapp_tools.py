"""The little nc, and the redis-server of the image redis: as containers run them."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

import petset
from petset.petapp import netcat

PETAPP = Path(petset.__file__).parent / "petapp"
SECONDS = 30


def nc(*arguments: str, said: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
    command = [str(PETAPP / "bin" / "nc"), *arguments]
    python = {"PET_PYTHON": sys.executable, "PYTHONPATH": str(PETAPP.parent.parent)}
    return subprocess.run(
        command, input=said, env={**os.environ, **python, **environment},
        capture_output=True, text=True, timeout=SECONDS, check=False,
    )  # fmt: skip


@pytest.fixture
def echo() -> Iterator[int]:
    """The port of a server that answers one connection, in capitals, when its client has ended."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            line, _ = listener.accept()
            with line:
                heard = b""
                while chunk := line.recv(4096):
                    heard += chunk
                line.sendall(heard.upper())

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield listener.getsockname()[1]
        thread.join(SECONDS)


def test_nc_sends_stdin_and_prints_the_answer(echo: int) -> None:
    done = nc("-v", "127.0.0.1", str(echo), said="hello")
    assert (done.returncode, done.stdout) == (0, "HELLO")
    assert "succeeded" in done.stderr


def test_nc_listens_for_one_connection_and_looks_whether_anybody_does() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = str(free.getsockname()[1])
        assert nc("-z", "127.0.0.1", port).returncode == 0
    assert nc("-z", "127.0.0.1", port).returncode == 1
    threads = [threading.Thread(target=_send, args=(int(port),), daemon=True)]
    threads[0].start()
    done = nc("-l", "-p", port, "-w", "20", PET_BIND="127.0.0.1", said="reply")
    threads[0].join(SECONDS)
    assert (done.returncode, done.stdout) == (0, "from a client")


def _send(port: int) -> None:
    """Say something as soon as somebody listens, and hear the answer: a line closed before would be a reset."""
    while True:
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=SECONDS) as line:
                line.sendall(b"from a client")
                line.recv(len(b"reply"), socket.MSG_WAITALL)
                return
        except ConnectionRefusedError:
            continue


@pytest.mark.parametrize("arguments", [(), ("host",), ("host", "port"), ("-l",), ("-x", "host", "1")])
def test_nc_explains_itself(arguments: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    assert netcat.nc([*arguments]) == 1
    assert "usage: nc" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "bind", "expected"),
    [
        pytest.param([], "", ["--protected-mode", "no"], id="alone"),
        pytest.param(["--appendonly", "yes"], "", ["--protected-mode", "no", "--appendonly", "yes"], id="options"),
        pytest.param(
            ["redis.conf", "--port", "1"],
            "",
            ["redis.conf", "--protected-mode", "no", "--port", "1"],
            id="a file first",
        ),
        pytest.param(["strict.conf"], "", ["strict.conf"], id="a file that decides itself"),
        pytest.param([], "127.0.0.9", ["--protected-mode", "no", "--bind", "127.0.0.9"], id="no network of its own"),
        pytest.param(["--version"], "127.0.0.9", ["--version"], id="a question"),
    ],
)
def test_redis_is_open_to_the_pod_network(tmp_path: Path, arguments: list[str], bind: str, expected: list[str]) -> None:
    (tmp_path / "redis-server").write_text('#!/bin/sh\nfor word in "$@"; do echo "$word"; done\n')
    (tmp_path / "redis-server").chmod(0o755)
    (tmp_path / "redis.conf").write_text("appendonly yes\n")
    (tmp_path / "strict.conf").write_text("protected-mode yes\n")
    path = os.pathsep.join([str(PETAPP / "redis"), str(tmp_path), os.environ["PATH"]])
    done = subprocess.run(
        [str(PETAPP / "redis" / "redis-server"), *arguments], env={"PATH": path, "PET_BIND": bind}, cwd=tmp_path,
        capture_output=True, text=True, timeout=SECONDS, check=False,
    )  # fmt: skip
    assert done.stdout.splitlines() == expected, done.stderr
