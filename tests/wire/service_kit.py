"""Service proxies on real loopback sockets for tests, fed through the real API in the same process."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import Any

from petset.cluster.api.objects import Object
from petset.cluster.apiserver.loopback import LoopbackClient
from petset.cluster.assemble.service_proxy import make_service_proxy, relays
from petset.cluster.network.addresses import loopback_plan
from petset.cluster.network.loopback import LoopbackNetwork
from tests.apis import new_api
from tests.wire.slots import own_slot

SLOT = own_slot(62)
"""One that no cluster takes before 62 others: relays share their ports with relays of the same slot."""
PLAN = loopback_plan(SLOT)
HOST = "127.0.0.1"
PATIENCE_SECONDS = 10.0
PORT = 18080
UDP_PORT = 18053
PODS = [str(PLAN.pod_range(number)[2]) for number in (1, 2, 3)]


def service(name: str = "web", port: int = PORT, protocol: str = "TCP", **spec: Any) -> Object:
    ports = [{"port": port, "protocol": protocol, **spec.pop("port_fields", {})}]
    meta = {"name": name, "namespace": "default"}
    return {"apiVersion": "v1", "kind": "Service", "metadata": meta, "spec": {"ports": ports, **spec}}


def endpoint_slice(
    *addresses: str, name: str = "web", port: int = PORT, protocol: str = "TCP", nodes: tuple[str, ...] = ()
) -> Object:
    labels = {"kubernetes.io/service-name": name}
    endpoints: list[Object] = [{"addresses": [address], "conditions": {"ready": True}} for address in addresses]
    for endpoint, node in zip(endpoints, nodes, strict=False):
        endpoint["nodeName"] = node
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"name": f"{name}-1", "namespace": "default", "labels": labels},
        "addressType": "IPv4",
        "endpoints": endpoints,
        "ports": [{"name": "", "port": port, "protocol": protocol}],
    }


async def until(holds: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not await holds():
            await asyncio.sleep(0.01)


@asynccontextmanager
async def proxies(
    client: LoopbackClient, *node_names: str, retry_seconds: float = 5.0
) -> AsyncIterator[dict[str, asyncio.Task[None]]]:
    """A proxy per node, each as a task that can be cancelled on its own."""
    tasks: dict[str, asyncio.Task[None]] = {}
    try:
        for number, name in enumerate(node_names, start=1):
            network = LoopbackNetwork(PLAN, number)
            made = make_service_proxy(
                client, node_name=name, network=network, make_forwarding=relays(network, PLAN),
                retry_seconds=retry_seconds,
            )  # fmt: skip
            tasks[name] = asyncio.create_task(made.run(), name=name)
            async with asyncio.timeout(PATIENCE_SECONDS):
                await made.synced.wait()
        yield tasks
    finally:
        for task in tasks.values():
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task


@asynccontextmanager
async def pods(*addresses: str, port: int = PORT) -> AsyncIterator[None]:
    """A server per address that greets with its address and then echoes until the client's end of stream."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            writer.write(f"{writer.get_extra_info('sockname')[0]}\n".encode())
            while chunk := await reader.read(1 << 16):
                writer.write(chunk)
                await writer.drain()
            writer.write(b"bye")
        writer.close()

    async with AsyncExitStack() as stack:
        for address in addresses:
            server = await asyncio.start_server(serve, address, port)
            stack.callback(server.close)
        yield


async def greeted(address: str, port: int = PORT) -> str:
    """Which pod a new connection reaches; "" when it is refused or reset."""
    try:
        reader, writer = await asyncio.open_connection(address, port)
        line = await reader.readline()
        writer.close()
    except ConnectionError:
        return ""
    return line.decode().strip()


@asynccontextmanager
async def answered(*objects: Object, nodes: tuple[str, ...] = ("node-1",)) -> AsyncIterator[tuple[LoopbackClient, str]]:
    """A client, and the cluster IP of the service `web` (if there is one), with the proxies in step."""
    client = LoopbackClient(await new_api(slot=SLOT))
    for obj in objects:
        await client.create(obj)
    async with proxies(client, *nodes):
        found = [each for each in (await client.list("Service", "default")).items if each["metadata"]["name"] == "web"]
        yield client, found[0]["spec"]["clusterIP"] if found else ""
