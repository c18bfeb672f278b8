"""The guests as processes: their first line, their end by SIGTERM, their mistakes in one line."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest

import petset

REPOSITORY = Path(petset.__file__).parents[1]


@asynccontextmanager
async def guest(module: str, **environment: str) -> AsyncIterator[tuple[asyncio.subprocess.Process, str]]:
    """A guest as a process of its own, and the first line that it wrote. It is killed if the test fails."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        f"petset.petapp.{module}",
        cwd=REPOSITORY,
        env=os.environ | {"PET_BIND": "127.0.0.1", "PET_PORT": "0", "HOSTNAME": "pet-0"} | environment,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    try:
        yield process, (await process.stdout.readline()).decode()
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


def _port_in(line: str) -> int:
    return int(line.rpartition(":")[2])


@pytest.mark.parametrize("module", ["kubia", "kubia_pet", "kubia_pet_peers", "web"])
async def test_sigterm_ends_a_guest_with_exit_code_0(module: str, tmp_path: Path) -> None:
    async with guest(module, PET_DATA=str(tmp_path), PET_WEBROOT=str(tmp_path)) as (process, line):
        name = module.replace("_", "-")
        assert re.fullmatch(rf"{name} on pet-0 listens on 127\.0\.0\.1:\d+\n", line)
        async with aiohttp.ClientSession() as http:
            async with http.get(f"http://127.0.0.1:{_port_in(line)}/data") as answer:
                assert answer.status in (200, 404)
            process.send_signal(signal.SIGTERM)  # an idle connection is still open and does not hold it up
            output, errors = await process.communicate()
        assert (process.returncode, errors) == (0, b"")
        assert output.endswith(f"{name} stops: finishing what was begun\n".encode())
        assert (b'"GET /data HTTP/1.1" 404 ' in output) == (module == "web"), "nginx logs each request"


async def test_sigterm_ends_pause_with_exit_code_0() -> None:
    async with guest("pause") as (process, line):
        assert line == "pause: waiting for SIGTERM\n"
        process.send_signal(signal.SIGCHLD)
        with pytest.raises(TimeoutError):  # a dead child is buried and the wait goes on
            await asyncio.wait_for(process.wait(), timeout=0.2)
        process.send_signal(signal.SIGTERM)
        assert await process.wait() == 0


async def test_a_request_that_was_begun_is_finished_after_sigterm(tmp_path: Path) -> None:
    async with guest("kubia_pet", PET_DATA=str(tmp_path)) as (process, line):
        reader, writer = await asyncio.open_connection("127.0.0.1", _port_in(line))
        writer.write(b"POST / HTTP/1.1\r\nHost: kubia-0\r\nContent-Length: 10\r\nExpect: 100-continue\r\n\r\n")
        assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        process.send_signal(signal.SIGTERM)
        assert process.stdout is not None
        assert b"kubia-pet stops" in await process.stdout.readline()
        writer.write(b"Hey there!")
        head, _, body = (await reader.read()).partition(b"\r\n\r\n")
        assert b"Connection: close" in head
        assert body == b"Data stored on pod pet-0\n"
        writer.close()
        assert await process.wait() == 0
    assert (tmp_path / "kubia.txt").read_bytes() == b"Hey there!"


@pytest.mark.parametrize(
    ("environment", "words"),
    [
        pytest.param({"PET_PORT": "http"}, "PET_PORT=http: a port is a number from 0 to 65535", id="no port"),
        pytest.param({"PET_BIND": "192.0.2.1"}, "could not bind|cannot assign requested address", id="no such address"),
    ],
)
async def test_a_mistake_in_the_environment_is_one_line(environment: dict[str, str], words: str) -> None:
    async with guest("kubia", **environment) as (process, line):
        assert line == ""
        _, errors = await process.communicate()
        assert process.returncode == 1
        assert re.fullmatch(rf"kubia: .*({words}).*\n", errors.decode())
