"""An API on a real TLS socket with a kubeconfig, and kubectl run against it."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from petset.cluster import pki
from petset.cluster.apiserver.api import Api
from petset.cluster.assemble.api_server import serve_api
from petset.cluster.assemble.client import http_client
from petset.cluster.certificates import ensure_certificates
from petset.cluster.control.http_client import HttpClient
from petset.cluster.kubeconfig import write_kubeconfig
from petset.cluster.settings import ClusterSettings

KUBECTL_SECONDS = 60.0
SETTLE_SECONDS = 0.05

needs_kubectl = pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is not on PATH")


@dataclass(frozen=True)
class Result:
    """What a command printed, and its exit status."""

    code: int
    out: str
    err: str


@dataclass(frozen=True)
class Served:
    """A served API: its settings, a client of the administrator, and kubectl with its own cache folder."""

    api: Api
    settings: ClusterSettings
    client: HttpClient

    async def kubectl(self, *arguments: str, stdin: str = "", program: str = "kubectl", editor: str = "true") -> Result:
        """Run kubectl to its end."""
        home = self.settings.folder.root
        process = await asyncio.create_subprocess_exec(
            program, "--kubeconfig", str(self.settings.folder.kubeconfig), "--cache-dir", str(home / "cache"),
            *arguments,
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
            env={"PATH": os.environ["PATH"], "HOME": str(home), "EDITOR": editor},
        )  # fmt: skip
        async with asyncio.timeout(KUBECTL_SECONDS):
            out, err = await process.communicate(stdin.encode())
        return Result(process.returncode or 0, out.decode(), err.decode())


@asynccontextmanager
async def serving(api: Api, home: Path) -> AsyncIterator[Served]:
    """Serve `api` on a free port of 127.0.0.1, its files under `home`."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        settings = ClusterSettings(name="test", home=str(home), node_count=2, port=listener.getsockname()[1])
        ensure_certificates(settings, time.time())
        pki.ensure_tokens(settings)
        write_kubeconfig(settings)
        ready = asyncio.Event()
        server = asyncio.create_task(serve_api(api, settings, listener, ready))
        try:
            await ready.wait()
            async with http_client(settings, pki.ADMIN) as client:
                yield Served(api, settings, client)
        finally:
            server.cancel()
            await asyncio.gather(server, return_exceptions=True)
            # A handshake that the server's end cut off belongs to nobody yet; asyncio ends it, but only a moment later.
            await asyncio.sleep(SETTLE_SECONDS)
