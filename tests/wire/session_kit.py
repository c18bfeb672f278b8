"""What tests of sessions share: requests as the administrator, kubectl while it runs, guests to talk to."""

from __future__ import annotations

import asyncio
import os
import re
import shlex
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pexpect
import pytest

from petset.cluster import pki
from tests.wire.real_cluster import RealCluster, kubectls
from tests.wire.serving import KUBECTL_SECONDS

KUBECTLS = kubectls()
ENDS = [KUBECTLS[0], KUBECTLS[-1]] if KUBECTLS else []
"""The oldest speaks SPDY, the newest WebSocket; between them changes only which, and when."""

every_kubectl = pytest.mark.parametrize("kubectl", KUBECTLS, ids=lambda path: path[-4:])
both_protocols = pytest.mark.parametrize("kubectl", ENDS, ids=["SPDY", "WebSocket"])


async def run_guests(cluster: RealCluster) -> None:
    """Two servers to be reached through tunnels (proxy_guest.py): `site`, and `safe-site` with TLS."""
    folder = cluster.settings.folder
    certificate = pki.kubelet_certificate(folder, "node-1")
    own = {"PYTHONPATH": os.pathsep.join([*sys.path, str(Path(__file__).parents[2])])}
    tls = {**own, "CERTIFICATE": str(certificate), "KEY": str(pki.key_of(certificate))}
    probe = {"tcpSocket": {"port": 8080}, "periodSeconds": 1}
    for name, env in (("site", own), ("safe-site", tls)):
        await cluster.run_pod(
            name, "busybox", command=[sys.executable, "-m", "tests.wire.proxy_guest"], readinessProbe=probe,
            ports=[{"name": "http", "containerPort": 8080}],
            env=[{"name": key, "value": value} for key, value in env.items()],
        )  # fmt: skip


@asynccontextmanager
async def administrator(cluster: RealCluster) -> AsyncIterator[aiohttp.ClientSession]:
    """An HTTP client of the API server."""
    settings = cluster.settings
    headers = {"Authorization": f"Bearer {pki.token_of(settings.folder, pki.ADMIN)}"}
    connector = aiohttp.TCPConnector(ssl=pki.client_context(settings.folder))
    async with aiohttp.ClientSession(settings.server, headers=headers, connector=connector) as opened:
        yield opened
    await asyncio.sleep(0.05)  # TLS connections are closed a moment later


def proxy_path(name: str, path: str) -> str:
    return f"/api/v1/namespaces/default/pods/{name}/proxy/{path}"


async def start(cluster: RealCluster, kubectl: str, *arguments: str, stdin: bool = False) -> asyncio.subprocess.Process:
    """kubectl while it runs, its output piped; without `stdin` there is nothing to read for it."""
    home = str(cluster.settings.folder.root)
    return await asyncio.create_subprocess_exec(
        kubectl, *_options(cluster), *arguments,
        stdin=asyncio.subprocess.PIPE if stdin else asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        env={"PATH": os.environ["PATH"], "HOME": home},
    )  # fmt: skip


def _options(cluster: RealCluster) -> list[str]:
    folder = cluster.settings.folder
    return ["--kubeconfig", str(folder.kubeconfig), "--cache-dir", str(folder.root / "cache")]


def spawn(cluster: RealCluster, kubectl: str, *arguments: str) -> Any:
    """kubectl on a terminal of 24 lines and 80 columns."""
    environment = {"PATH": os.environ["PATH"], "HOME": str(cluster.settings.folder.root), "TERM": "xterm"}
    command = shlex.join([kubectl, *_options(cluster), *arguments])
    return pexpect.spawn(command, env=environment, timeout=20, dimensions=(24, 80))


def expect_window(terminal: Any, rows: int, columns: int) -> None:
    """The shell on a terminal comes to see this size: kubectl tells it beside the typed text, sooner or later."""
    terminal.sendline(f'until [ "$(stty size)" = "{rows} {columns}" ]; do sleep 0.05; done; echo saw $(stty size)')
    terminal.expect(f"saw {rows} {columns}\r\n")


async def forwarded_port(process: asyncio.subprocess.Process) -> int:
    """The local port that `kubectl port-forward` told."""
    assert process.stdout is not None
    line = (await process.stdout.readline()).decode()
    found = re.search(r"Forwarding from 127\.0\.0\.1:(\d+)", line)
    assert found, line + (await process.communicate())[1].decode()
    return int(found[1])


async def ended(process: asyncio.subprocess.Process) -> tuple[str, str]:
    """Its output and its errors, once it has ended."""
    async with asyncio.timeout(KUBECTL_SECONDS):
        out, err = await process.communicate()
    return out.decode(), err.decode()


@asynccontextmanager
async def forwarded(cluster: RealCluster, kubectl: str, pod: str, port: int) -> AsyncIterator[int]:
    """The local end of a forwarded port."""
    process = await start(cluster, kubectl, "port-forward", pod, f":{port}", "--address=127.0.0.1")
    try:
        yield await forwarded_port(process)
    finally:
        process.terminate()
        await ended(process)
