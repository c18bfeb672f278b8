"""What the API server does per second, against the HTTP framework that it stands on.

    python benchmarks/api_server.py [--objects 1000] [--clients 8] [--watchers 100]

Both run in processes of their own over TLS, one after the other, with the same client; the client's own cost is in
both. Each line says requests per second, the 99th percentile, and the ratio to the floor of the same kind:

- floor: a bare aiohttp handler that reads the body and answers as many bytes as the API server would;
- petset: the API server alone, its store durable in SQLite: create, get, merge patch, list of all objects, and the
  fan-out of changes to watchers. Writes per fsync come from the store's own count of commits;
- validation: StatefulSets of the examples against the official definitions, in this process alone.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import socket
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import aiohttp
import yaml
from aiohttp import web

from petset.cluster import pki
from petset.cluster.api.kinds import Registry
from petset.cluster.api.schema import load_schemas
from petset.cluster.apiserver.api import make_api
from petset.cluster.assemble.api_server import serve_api
from petset.cluster.certificates import ensure_certificates
from petset.cluster.clock import SystemClock
from petset.cluster.names import system_names
from petset.cluster.settings import ClusterSettings
from petset.cluster.store.sqlite import SqliteBackend

MAPS = "/api/v1/namespaces/default/configmaps"
Request = Callable[[int], Awaitable[None]]


def config_map(number: int) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": f"m{number:06}"}, "data": {"x": "y" * 100}}


def make_settings(home: str, port: int) -> ClusterSettings:
    return ClusterSettings(name="bench", home=home, node_count=1, port=port)


def run_petset(home: str, listener: socket.socket, control: Connection) -> None:
    """The API server, alone in its process; says how many commits its store made when asked."""

    async def serve() -> None:
        settings = make_settings(home, listener.getsockname()[1])
        async with SqliteBackend.open(settings.folder.store) as backend:
            api = await make_api(
                backend, schemas=load_schemas(), clock=SystemClock(), names=system_names(), addresses=settings.addresses
            )
            ready = asyncio.Event()
            task = asyncio.create_task(serve_api(api, settings, listener, ready))
            await ready.wait()
            control.send("ready")
            while await asyncio.to_thread(control.recv) != "stop":
                control.send((backend.statistics.writes, backend.statistics.commits))
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    asyncio.run(serve())


def run_floor(home: str, listener: socket.socket, control: Connection) -> None:
    """aiohttp and TLS, nothing else."""

    async def handle(request: web.Request) -> web.Response:
        await request.read()
        return web.Response(body=b"x" * int(request.query.get("size", "400")), content_type="application/json")

    async def serve() -> None:
        application = web.Application()
        application.router.add_route("*", "/{path:.*}", handle)
        runner = web.AppRunner(application, access_log=None)
        await runner.setup()
        settings = make_settings(home, listener.getsockname()[1])
        await web.SockSite(runner, listener, ssl_context=pki.server_context(settings.folder)).start()
        control.send("ready")
        await asyncio.to_thread(control.recv)
        await runner.cleanup()

    asyncio.run(serve())


async def measured(count: int, clients: int, request: Request) -> tuple[float, float]:
    """(requests per second, p99 in ms) of `count` requests by `clients` at once."""
    numbers, seconds = iter(range(count)), list[float]()

    async def work() -> None:
        for number in numbers:
            started = time.perf_counter()
            await request(number)
            seconds.append(time.perf_counter() - started)

    started = time.perf_counter()
    await asyncio.gather(*(work() for _ in range(clients)))
    rate = count / (time.perf_counter() - started)
    return rate, statistics.quantiles(seconds, n=100)[98] * 1000


async def exercise(session: aiohttp.ClientSession, arguments: argparse.Namespace) -> dict[str, tuple[float, float]]:
    """The requests of both servers, under the same names."""

    async def send(method: str, path: str, *, body: object = None, patch: bool = False) -> None:
        headers = {"Content-Type": "application/merge-patch+json" if patch else "application/json"}
        async with session.request(method, path, json=body, headers=headers if body else None) as response:
            raw = await response.read()
            assert response.status < 300, raw

    count, clients = arguments.objects, arguments.clients
    names = [config_map(number)["metadata"]["name"] for number in range(count)]
    one = f"{MAPS}?size={count * 400}&limit=0"
    return {
        "create": await measured(count, clients, lambda n: send("POST", MAPS, body=config_map(n))),
        "get": await measured(count, clients, lambda n: send("GET", f"{MAPS}/{names[n]}")),
        "patch": await measured(
            count, clients,
            lambda n: send("PATCH", f"{MAPS}/{names[n]}", body={"data": {"n": str(n)}}, patch=True),
        ),
        f"list {count}": await measured(30, 1, lambda n: send("GET", one)),
    }  # fmt: skip


async def fan_out(session: aiohttp.ClientSession, arguments: argparse.Namespace) -> tuple[float, float]:
    """(events per second in all, p99 in ms from the write to a watcher) of changes that everybody watches."""
    async with session.get(f"{MAPS}?limit=1") as response:
        revision = (await response.json())["metadata"]["resourceVersion"]
    watches = [
        await session.get(f"{MAPS}?watch=true&resourceVersion={revision}") for _ in range(arguments.watchers)
    ]  # fmt: skip
    delays: list[float] = []
    written: dict[str, float] = {}
    changes = 50

    async def follow(response: aiohttp.ClientResponse) -> None:
        for _ in range(changes):
            event = json.loads(await response.content.readline())
            delays.append(time.perf_counter() - written[event["object"]["data"]["at"]])

    async def write() -> None:
        for number in range(changes):
            written[str(number)] = time.perf_counter()
            body = {"data": {"at": str(number)}}
            headers = {"Content-Type": "application/merge-patch+json"}
            async with session.patch(f"{MAPS}/m000000", json=body, headers=headers) as response:
                assert response.status == 200

    started = time.perf_counter()
    await asyncio.gather(write(), *(follow(each) for each in watches))
    rate = len(delays) / (time.perf_counter() - started)
    for each in watches:
        each.close()
    return rate, statistics.quantiles(delays, n=100)[98] * 1000


def run(server: Callable[..., None], arguments: argparse.Namespace) -> tuple[dict[str, tuple[float, float]], float]:
    """One server's figures; and, of petset, writes per commit."""
    with tempfile.TemporaryDirectory() as home, socket.create_server(("127.0.0.1", 0)) as listener:
        settings = make_settings(home, listener.getsockname()[1])
        ensure_certificates(settings, time.time())
        pki.ensure_tokens(settings)
        control, other = multiprocessing.Pipe()
        process = multiprocessing.get_context("fork").Process(target=server, args=(home, listener, other))
        process.start()
        assert control.recv() == "ready"

        async def drive() -> tuple[dict[str, tuple[float, float]], float]:
            headers = {"Authorization": f"Bearer {pki.token_of(settings.folder, pki.ADMIN)}"}
            connector = aiohttp.TCPConnector(limit=0, ssl=pki.client_context(settings.folder))
            async with aiohttp.ClientSession(settings.server, connector=connector, headers=headers) as session:
                figures = await exercise(session, arguments)
                if server is run_floor:
                    return figures, 0.0
                control.send("count")
                writes, made = control.recv()
                figures[f"fan-out to {arguments.watchers}"] = await fan_out(session, arguments)
                return figures, writes / made if made else 0.0

        try:
            return asyncio.run(drive())
        finally:
            control.send("stop")
            process.join(10)


def objects_validated_per_second() -> float:
    """The StatefulSet of the walk-through, checked again and again for a second."""
    manifest = (Path(__file__).parents[1] / "examples" / "kubia" / "statefulset.yaml").read_text()
    [obj] = [each for each in yaml.safe_load_all(manifest) if each and each["kind"] == "StatefulSet"]
    schemas, kind, checked = load_schemas(), Registry().of_kind("StatefulSet"), 0
    assert not schemas.check(kind, obj).errors  # and the validator is compiled now
    started = time.perf_counter()
    while (seconds := time.perf_counter() - started) < 1.0:
        schemas.check(kind, obj)
        checked += 1
    return checked / seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("--objects", 1000), ("--clients", 8), ("--watchers", 100)):
        parser.add_argument(name, type=int, default=default)
    arguments = parser.parse_args()
    floor, _ = run(run_floor, arguments)
    petset, per_commit = run(run_petset, arguments)
    print(f"{'':20}{'per second':>12}{'p99 ms':>10}{'floor':>12}{'ratio':>8}")
    for name, (rate, p99) in petset.items():
        base = floor.get(name)
        shown = f"{base[0]:12.0f}{rate / base[0]:8.2f}" if base else ""
        print(f"{name:20}{rate:12.0f}{p99:10.1f}{shown}")
    if per_commit:
        print(f"writes per fsync with {arguments.clients} clients: {per_commit:.1f}")
    print(f"StatefulSets validated per second: {objects_validated_per_second():.0f}")


if __name__ == "__main__":
    main()
