"""TCP through the relay of the service proxy, and what it promises about ports and nodes on the loopback network.

What every service proxy promises: tests/contract/test_service_proxy.py.
"""

from __future__ import annotations

import asyncio
import socket
from collections import Counter
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import pytest

from petset.cluster.apiserver.loopback import LoopbackClient
from petset.cluster.apiserver.own_endpoints import publish_dns_endpoints, publish_own_endpoints
from petset.cluster.assemble.service_proxy import kernel_or_relays
from petset.cluster.network.addresses import loopback_plan
from petset.cluster.network.loopback import LoopbackNetwork
from petset.cluster.node.service_sockets import ServiceSockets, mark_address
from petset.cluster.node.service_table import Backends, Endpoint, Frontend
from petset.cluster.node.service_tcp import Relays, TcpListener
from tests.apis import new_api
from tests.wire.service_kit import (
    HOST,
    PLAN,
    PODS,
    PORT,
    SLOT,
    answered,
    endpoint_slice,
    greeted,
    pods,
    proxies,
    service,
    until,
)
from tests.wire.slots import own_slot


async def test_connections_spread_over_the_relays_of_all_nodes() -> None:
    nodes = ("node-1", "node-2", "node-3")
    async with pods(*PODS), answered(service(), endpoint_slice(*PODS), nodes=nodes) as (_, address):
        counts = Counter([await greeted(address) for _ in range(60)])
        assert set(counts) == set(PODS)
        assert max(counts.values()) - min(counts.values()) <= len(nodes)


async def test_a_dead_endpoint_is_passed_over_and_nothing_but_dead_ones_is_a_reset() -> None:
    async with answered(service(), endpoint_slice(*PODS)) as (_, address):
        async with pods(PODS[1]):
            assert [await greeted(address) for _ in range(6)] == [PODS[1]] * 6
        reader, writer = await asyncio.open_connection(address, PORT)
        with pytest.raises(ConnectionResetError):
            await reader.read()
        writer.close()


async def test_a_reader_that_stops_holds_its_writer_back() -> None:
    taken = 0

    async def flood(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal taken
        with suppress(ConnectionError):
            while True:
                writer.write(bytes(1 << 16))
                await writer.drain()
                taken += 1 << 16

    server = await asyncio.start_server(flood, PODS[0], PORT)
    try:
        async with answered(service(), endpoint_slice(PODS[0])) as (_, address):
            with socket.create_connection((address, PORT)):
                seen = -1
                while seen != taken:
                    seen = taken
                    await asyncio.sleep(0.2)
                assert 0 < taken < 64 << 20, "only the kernel's own buffers filled up"
    finally:
        server.close()


async def test_node_ports_and_local_traffic() -> None:
    node_port = 30991
    external = service(type="NodePort", externalTrafficPolicy="Local", port_fields={"nodePort": node_port})
    slices = endpoint_slice(*PODS[:2], nodes=("node-1", "node-2"))
    nodes = ("node-1", "node-2", "node-3")
    async with pods(*PODS[:2]), answered(external, slices, nodes=nodes) as (_, address):
        assert await greeted(PLAN.node_address(1), node_port) == PODS[0]
        assert await greeted(PLAN.node_address(2), node_port) == PODS[1]
        assert await greeted(PLAN.node_address(3), node_port) == "", "no endpoint on this node"
        assert {await greeted(HOST, node_port) for _ in range(40)} == set(PODS[:2])
        assert {await greeted(address) for _ in range(4)} == set(PODS[:2])


async def test_client_ip_affinity() -> None:
    nodes = ("node-1", "node-2")
    objects = service(sessionAffinity="ClientIP"), endpoint_slice(*PODS)
    async with pods(*PODS), answered(*objects, nodes=nodes) as (_, address):
        assert len({await greeted(address) for _ in range(20)}) == 1


async def test_any_node_may_die() -> None:
    client = LoopbackClient(await new_api(slot=SLOT))
    address = (await client.create(service()))["spec"]["clusterIP"]
    await client.create(endpoint_slice(*PODS))
    async with pods(*PODS), proxies(client, "node-1", "node-2") as tasks:
        tasks["node-1"].cancel()
        with suppress(asyncio.CancelledError):
            await tasks["node-1"]
        assert {await greeted(address) for _ in range(9)} == set(PODS)


async def test_a_taken_port_is_reported_and_had_as_soon_as_it_is_free() -> None:
    with ExitStack() as stack:
        client = LoopbackClient(await new_api(slot=SLOT))
        address = (await client.create(service()))["spec"]["clusterIP"]
        await client.create(endpoint_slice(PODS[0]))
        other = stack.enter_context(socket.create_server((address, PORT)))
        async with pods(PODS[0]), proxies(client, "node-1", retry_seconds=0.05):
            events = (await client.list("Event", "default", field_selector="involvedObject.name=web")).items
            assert [(each["reason"], each["type"], each["message"]) for each in events] == [
                ("FailedToListen", "Warning", f"cannot listen on {address}:{PORT}/TCP: Address already in use")
            ]
            other.close()

            async def reached() -> bool:
                return await greeted(address) == PODS[0]

            await until(reached)
        events = (await client.list("Event", "default", field_selector="involvedObject.name=web")).items
        assert [each["count"] for each in events] == [1], "said once, however often it was tried"


@pytest.mark.parametrize("protocol", ["TCP", "UDP"])
def test_another_clusters_node_port_is_taken(protocol: Any) -> None:
    plans = (PLAN, loopback_plan(own_slot(61)))
    mine, other = (ServiceSockets(LoopbackNetwork(plan, 1), plan) for plan in plans)
    sibling = ServiceSockets(LoopbackNetwork(PLAN, 2), PLAN)
    frontend = Frontend(HOST, 30992, protocol)
    with ExitStack() as resources:
        for each in (mine, sibling):
            resources.enter_context(each.bind(frontend, resources))
        with ExitStack() as refused, pytest.raises(OSError, match="another cluster"):
            other.bind(frontend, refused)
        assert mark_address(PLAN).endswith(".255.253")
    with ExitStack() as resources:
        resources.enter_context(other.bind(frontend, resources))


async def test_connections_are_bounded() -> None:
    frontend = Frontend(str(PLAN.services[9 * 256 + 1]), PORT, "TCP")
    network = LoopbackNetwork(PLAN, 1)
    async with pods(PODS[0]), asyncio.TaskGroup() as tasks:
        relays = Relays(network, tasks, max_connections=1)
        with ExitStack() as resources:
            bound = ServiceSockets(network, PLAN).bind(frontend, resources)
            listener = TcpListener(bound, Backends((Endpoint(PODS[0], PORT),)), relays, turn=0)
            reader, writer = await asyncio.open_connection(frontend.address, PORT)
            assert await reader.readline() == f"{PODS[0]}\n".encode()
            assert await greeted(frontend.address) == ""
            writer.write_eof()
            assert await reader.read() == b"bye"
            writer.close()

            async def reached() -> bool:
                return await greeted(frontend.address) == PODS[0]

            await until(reached)
            await listener.close()


async def test_the_api_server_publishes_itself_once_and_again_when_it_moved() -> None:
    client = LoopbackClient(await new_api(slot=SLOT))
    for port, writes in ((PORT, 1), (PORT, 1), (PORT + 1, 2)):
        await publish_own_endpoints(client, HOST, port)
        legacy = await client.get("Endpoints", "kubernetes", "default")
        own = await client.get("EndpointSlice", "kubernetes", "default")
        assert own["metadata"]["generation"] == writes
        assert legacy["subsets"][0]["ports"][0]["port"] == own["ports"][0]["port"] == port
    await publish_own_endpoints(client, HOST, PORT)
    await publish_dns_endpoints(client, PLAN.dns_address, 53)
    dns = await client.get("Endpoints", "kube-dns", "kube-system")
    assert dns["subsets"][0]["addresses"] == [{"ip": PLAN.dns_address}]
    async with pods(HOST), proxies(client, "node-1"):
        assert await greeted(PLAN.api_address, 443) == HOST


async def test_where_the_kernel_cannot_translate_addresses_a_relay_serves(caplog: pytest.LogCaptureFixture) -> None:
    network, nowhere = LoopbackNetwork(PLAN, 1), Path("/nonexistent/namespace")
    make_forwarding = kernel_or_relays(network, PLAN, namespace=nowhere, pods=PLAN.pod_range(1))
    frontend = Frontend("127.190.9.3", PORT, "TCP")
    async with pods(PODS[0]), asyncio.TaskGroup() as tasks:
        async with make_forwarding(tasks) as forwarding:
            await forwarding.open(frontend, Backends((Endpoint(PODS[0], PORT),)), turn=7)
            assert await greeted(frontend.address) == PODS[0]
        assert await greeted(frontend.address) == "", "closed with its forwarding"
    assert "services go through a relay" in caplog.text
