"""How fast bytes go through `kubectl cp`, `kubectl port-forward` and the proxy, beside a plain TCP copy in one run.

    python -m benchmarks.streams [--megabytes 100] [--proxy-mebibytes 1024] [--kubectl PATH]

Brings up a cluster of one node in this process (API server, kubelet and node share it, as they do not on Ray) and
copies a file of random bytes into a pod, back out of it, and through a forwarded port in both directions. The plain
copy goes over a loopback TCP connection between two threads. Then a download through the pod's proxy subresource, and
how far the process's memory rose meanwhile. Prints MB/s and the ratio to the plain copy.
"""

from __future__ import annotations

import argparse
import asyncio
import io
import os
import re
import socket
import sys
import tempfile
import threading
import time
from pathlib import Path

import aiohttp
import psutil

from tests.wire.real_cluster import RealCluster, kubectls, real_cluster
from tests.wire.session_kit import administrator, proxy_path

PIECE_BYTES = 64 * 1024


def plain_copy(size: int) -> float:
    """Seconds for `size` bytes over a TCP connection on 127.0.0.1."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        begun = time.perf_counter()

        def send() -> None:
            with socket.create_connection(listener.getsockname()) as line:
                line.sendall(bytes(size))

        sender = threading.Thread(target=send)
        sender.start()
        line, _ = listener.accept()
        with line:
            while line.recv(PIECE_BYTES):
                continue
        sender.join()
        return time.perf_counter() - begun


async def copies(cluster: RealCluster, kubectl: str, size: int, folder: Path) -> dict[str, float]:
    """Seconds per direction of `kubectl cp`."""
    source, back = folder / "source", folder / "back"
    source.write_bytes(os.urandom(size))
    seconds = {}
    for name, arguments in (("cp in", (str(source), "site:copy")), ("cp out", ("site:copy", str(back)))):
        begun = time.perf_counter()
        result = await cluster.kubectl("cp", *arguments, program=kubectl)
        if result.code:
            raise SystemExit(f"{name}: {result.err}")
        seconds[name] = time.perf_counter() - begun
    if back.read_bytes() != source.read_bytes():
        raise SystemExit("the copy differs from its source")
    return seconds


async def forwarded(cluster: RealCluster, kubectl: str, size: int) -> dict[str, float]:
    """Seconds per direction of one connection through `kubectl port-forward`."""
    process = await asyncio.create_subprocess_exec(
        kubectl, "--kubeconfig", str(cluster.settings.folder.kubeconfig), "port-forward", "site", ":8080",
        "--address=127.0.0.1", stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    try:
        line = await process.stdout.readline() if process.stdout else b""
        found = re.search(rb"127\.0\.0\.1:(\d+)", line)
        if found is None:
            raise SystemExit(f"port-forward: {line.decode()}")
        seconds = {}
        async with aiohttp.ClientSession(f"http://127.0.0.1:{found[1].decode()}") as session:
            begun = time.perf_counter()
            async with session.put("/echo", data=io.BytesIO(bytes(size))) as answer:
                await answer.read()
            seconds["port-forward in"] = time.perf_counter() - begun
            begun = time.perf_counter()
            async with session.get(f"/big?bytes={size}") as answer:
                async for _ in answer.content.iter_chunked(PIECE_BYTES):
                    continue
            seconds["port-forward out"] = time.perf_counter() - begun
        return seconds
    finally:
        process.terminate()
        await process.communicate()


async def downloaded(cluster: RealCluster, size: int) -> tuple[float, int]:
    """Seconds of a download through the proxy, and by how many bytes this process's memory rose at the most."""
    process, begun = psutil.Process(), time.perf_counter()
    before = most = process.memory_info().rss
    async with (
        administrator(cluster) as session,
        session.get(proxy_path("site", f"big?bytes={size}")) as answer,
    ):
        async for _ in answer.content.iter_chunked(16 * PIECE_BYTES):
            most = max(most, process.memory_info().rss)
    return time.perf_counter() - begun, most - before


async def measure(kubectl: str, size: int, proxy_size: int) -> tuple[dict[str, float], tuple[float, int]]:
    with tempfile.TemporaryDirectory() as name:
        async with real_cluster(Path(name), slot=51) as cluster:
            await cluster.run_pod(
                "site", "busybox", command=[sys.executable, "-m", "tests.wire.proxy_guest"],
                ports=[{"containerPort": 8080}], env=[{"name": "PYTHONPATH", "value": os.getcwd()}],
                readinessProbe={"tcpSocket": {"port": 8080}, "periodSeconds": 1},
            )  # fmt: skip
            seconds = await copies(cluster, kubectl, size, Path(name)) | await forwarded(cluster, kubectl, size)
            return seconds, await downloaded(cluster, proxy_size)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", type=int, default=100)
    parser.add_argument("--proxy-mebibytes", type=int, default=1024)
    parser.add_argument("--kubectl", default=kubectls()[-1] if kubectls() else "kubectl")
    options = parser.parse_args()
    size = options.megabytes * 1_000_000
    plain = plain_copy(size)
    proxy_size = options.proxy_mebibytes * 1024 * 1024
    measured, (download_seconds, risen_bytes) = asyncio.run(measure(options.kubectl, size, proxy_size))
    rates = {name: size / seconds for name, seconds in ({"plain TCP": plain} | measured).items()}
    rates["proxy out"] = proxy_size / download_seconds
    for name, rate in rates.items():
        print(f"{name:<18} {rate / 1e6:8.0f} MB/s   {rate * plain / size:6.1%} of plain TCP")
    print(f"{options.proxy_mebibytes} MiB through the proxy: memory rose by {risen_bytes / 1024 / 1024:.1f} MiB")


if __name__ == "__main__":
    main()
