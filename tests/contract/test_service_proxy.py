"""What every service proxy promises (cluster/node/service_forwarding.py), whoever carries the packets."""

from __future__ import annotations

import asyncio
import socket
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest

from petset.cluster.api.objects import Object
from petset.cluster.apiserver.loopback import LoopbackClient
from tests.contract.service_sites import PORT, Pod, Site, greeting, said
from tests.inside import needs_namespaces
from tests.wire.service_kit import endpoint_slice, service, until

NODE_PORT = 30991
STREAM, DATAGRAM = socket.SOCK_STREAM, socket.SOCK_DGRAM


@pytest.fixture(
    params=[
        "relay on loopback",
        pytest.param("relay in namespaces", marks=needs_namespaces),
        pytest.param("kernel in namespaces", marks=needs_namespaces),
    ]
)
async def site(request: pytest.FixtureRequest) -> AsyncIterator[Site]:
    async with AsyncExitStack() as stack:
        yield Site(request.param, stack)


@pytest.fixture(params=[pytest.param("kernel in namespaces", marks=needs_namespaces)])
async def kernel(request: pytest.FixtureRequest) -> AsyncIterator[Site]:
    async with AsyncExitStack() as stack:
        yield Site(request.param, stack)


def endpoints(*pods: Pod, protocol: str = "TCP") -> Object:
    return endpoint_slice(
        *(pod.address for pod in pods), port=PORT, protocol=protocol, nodes=tuple(pod.node for pod in pods)
    )


async def publish(client: LoopbackClient, *pods: Pod) -> None:
    """Only these are the endpoints of `web` from now on."""
    await client.patch("EndpointSlice", "web-1", "default", body={"endpoints": endpoints(*pods)["endpoints"]})


async def test_connections_spread_evenly_over_nodes(site: Site) -> None:
    pods = [await site.pod(number) for number in (1, 1, 2)]
    _, address = await site.answer(service(port=80), endpoints(*pods))
    counts = Counter([(await greeting(pods[0].make_socket(STREAM), address, 80))[0] for _ in range(30)])
    assert counts == {pod.address: 10 for pod in pods}


async def test_a_pod_reaches_itself(site: Site) -> None:
    pod = await site.pod()
    _, address = await site.answer(service(), endpoints(pod))
    assert (await greeting(pod.make_socket(STREAM), address))[0] == pod.address


async def test_the_node_itself_is_a_client_too(site: Site) -> None:
    pods = [await site.pod(number) for number in (1, 2)]
    _, address = await site.answer(service(), endpoints(*pods))
    reached = {(await greeting(await site.node_socket(1), address))[0] for _ in range(4)}
    assert reached == {pod.address for pod in pods}


async def test_an_endpoint_that_leaves_keeps_its_connections_and_gets_no_new_ones(site: Site) -> None:
    old, new = await site.pod(1), await site.pod(2)
    client, address = await site.answer(service(), endpoints(old))
    with old.make_socket(STREAM) as made:
        await asyncio.get_running_loop().sock_connect(made, (address, PORT))
        reader, writer = await asyncio.open_connection(sock=made)
        assert (await reader.readline()).split()[0] == old.address.encode()
        await publish(client, new)

        async def only_the_new_one() -> bool:
            return {(await greeting(old.make_socket(STREAM), address))[0] for _ in range(4)} == {new.address}

        await until(only_the_new_one)
        writer.write(b"still here")
        assert await reader.readexactly(10) == b"still here"
        await client.delete("Service", "web", "default")

        async def refused() -> bool:
            return await greeting(old.make_socket(STREAM), address) == []

        await until(refused)
        writer.write(b"even now")
        writer.write_eof()
        assert await reader.read() == b"even nowbye"
        writer.close()


async def test_without_endpoints_clients_are_refused_until_one_comes(site: Site) -> None:
    pod = await site.pod()
    client, address = await site.answer(service(), endpoints())
    assert await greeting(pod.make_socket(STREAM), address) == []
    assert await greeting(await site.node_socket(1), address) == []
    await publish(client, pod)

    async def reached() -> bool:
        return await greeting(pod.make_socket(STREAM), address) != []

    await until(reached)


async def test_half_close_large_streams_and_resets_pass(site: Site) -> None:
    payload = bytes(range(256)) * 8192
    here, there = await site.pod(1), await site.pod(2)
    _, address = await site.answer(service(), endpoints(there))

    async def connect() -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        made = here.make_socket(STREAM)
        await asyncio.get_running_loop().sock_connect(made, (address, PORT))
        streams = await asyncio.open_connection(sock=made)
        await streams[0].readline()
        return streams

    reader, writer = await connect()

    async def send() -> None:
        writer.write(payload)
        await writer.drain()
        writer.write_eof()

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(send())
        assert await reader.read() == payload + b"bye"
    writer.close()
    reader, writer = await connect()
    writer.write(b"slam")
    with pytest.raises(ConnectionResetError):
        await reader.read()
    writer.close()


async def test_node_ports_and_local_traffic(site: Site) -> None:
    pods = [await site.pod(number) for number in (1, 2)]
    fields = {"type": "NodePort", "port_fields": {"nodePort": NODE_PORT}}
    objects = service(**fields, externalTrafficPolicy="Local"), endpoints(*pods)
    client, address = await site.answer(*objects, nodes=(1, 2, 3))
    places = [site.plan.node_address(number) for number in (1, 2, 3)]

    async def reached(place: str, port: int = NODE_PORT) -> set[str]:
        found = [await greeting(pods[0].make_socket(STREAM), place, port) for _ in range(6)]
        return {server for each in found for server in each[:1]}

    assert [await reached(place) for place in places] == [{pods[0].address}, {pods[1].address}, set()]
    assert await reached(address, PORT) == {pod.address for pod in pods}
    await client.patch("Service", "web", "default", body={"spec": {"externalTrafficPolicy": "Cluster"}})

    async def everywhere() -> bool:
        return [await reached(place) for place in places] == [{pod.address for pod in pods}] * 3

    await until(everywhere)


async def test_internal_traffic_policy_local(site: Site) -> None:
    if "loopback" in site.kind:
        pytest.skip("on the loopback network any node's proxy may take a connection to a cluster IP")
    pods = [await site.pod(number) for number in (1, 2)]
    _, address = await site.answer(service(internalTrafficPolicy="Local"), endpoints(*pods), nodes=(1, 2))
    for pod in pods:
        assert {(await greeting(pod.make_socket(STREAM), address))[0] for _ in range(4)} == {pod.address}


async def test_client_ip_affinity(site: Site) -> None:
    pods = [await site.pod(number) for number in (1, 2, 1)]
    client, address = await site.answer(service(sessionAffinity="ClientIP"), endpoints(*pods))

    async def reached() -> set[str]:
        return {(await greeting(pods[0].make_socket(STREAM), address))[0] for _ in range(6)}

    first = await reached()
    assert len(first) == 1
    left = [pod for pod in pods if pod.address not in first]
    await publish(client, *left)

    async def moved() -> bool:
        return await reached() < {pod.address for pod in left}

    await until(moved)


async def test_udp_flows(site: Site) -> None:
    pods = [await site.pod(number) for number in (1, 2)]
    objects = service(protocol="UDP", port=53), endpoints(*pods, protocol="UDP")
    client, address = await site.answer(*objects)
    with pods[0].make_socket(DATAGRAM) as one, pods[0].make_socket(DATAGRAM) as two:
        for made in (one, two):
            made.connect((address, 53))
        first = await said(one, "a")
        assert [await said(one, "b"), await said(one, "c")] == [first, first], "a flow keeps its endpoint"
        second = await said(two, "a")
        assert {first, second} == {pod.address for pod in pods}
        [stays] = [pod for pod in pods if pod.address == second]
        await publish(client, stays)

        async def moved() -> bool:
            return await said(one, "d") == second

        await until(moved)
        await publish(client)

        async def refused() -> bool:
            return await said(one, "e") == ""

        await until(refused)
        await publish(client, stays)

        async def back() -> bool:
            return await said(one, "f") == second

        await until(back)


async def test_a_proxy_that_starts_again_serves_what_there_is_by_then(site: Site) -> None:
    old, new = await site.pod(), await site.pod()
    client, address = await site.answer(service(), endpoints(old), nodes=())
    async with site.proxy(client, 1):
        assert (await greeting(old.make_socket(STREAM), address))[0] == old.address
    await publish(client, new)
    async with site.proxy(client, 1):
        assert {(await greeting(old.make_socket(STREAM), address))[0] for _ in range(3)} == {new.address}


@pytest.mark.parametrize("calls", ["1", "0"], ids=["bridges call netfilter", "bridges do not"])
async def test_pods_see_their_clients_where_answers_come_back(kernel: Site, calls: str) -> None:
    here, beside, there = [await kernel.pod(number) for number in (1, 1, 2)]
    with kernel.bridge_calls(1, calls):
        _, address = await kernel.answer(service(port=80), endpoints(here, beside, there))
        seen = dict([await greeting(here.make_socket(STREAM), address, 80) for _ in range(3)])
    node = kernel.plan.node_address(1)
    bridge = str(kernel.plan.pod_range(1).network_address + 1)
    assert seen == {
        here.address: bridge,
        beside.address: here.address if calls == "1" else bridge,
        there.address: here.address,
    }
    assert node not in seen.values()


@pytest.mark.parametrize("policy", ["Cluster", "Local"])
async def test_what_comes_through_a_node_port_goes_back_through_it(kernel: Site, policy: str) -> None:
    client, other = await kernel.pod(3), await kernel.pod(1)
    fields = {"type": "NodePort", "port_fields": {"nodePort": NODE_PORT}, "externalTrafficPolicy": policy}
    await kernel.answer(service(**fields), endpoints(other))
    [_, seen] = await greeting(client.make_socket(STREAM), kernel.plan.node_address(1), NODE_PORT)
    bridge = str(kernel.plan.pod_range(1).network_address + 1)
    assert seen == {"Cluster": bridge, "Local": client.address}[policy]


async def test_affinity_ends_with_its_timeout(kernel: Site) -> None:
    pods = [await kernel.pod(number) for number in (1, 2)]
    config = {"clientIP": {"timeoutSeconds": 1}}
    objects = service(sessionAffinity="ClientIP", sessionAffinityConfig=config), endpoints(*pods)
    _, address = await kernel.answer(*objects)

    async def reached() -> str:
        return (await greeting(pods[0].make_socket(STREAM), address))[0]

    first = await reached()

    async def moved() -> bool:
        await asyncio.sleep(1.2)  # the kernel's own clock
        return await reached() != first

    await until(moved)


async def test_a_load_balancer_and_its_policy(kernel: Site) -> None:
    pods = [await kernel.pod(number) for number in (1, 2)]
    client, _ = await kernel.answer(service(type="LoadBalancer"), endpoints(*pods))
    ingress = {"loadBalancer": {"ingress": [{"ip": "10.111.254.7", "ipMode": "VIP"}]}}
    await client.patch("Service", "web", "default", body={"status": ingress}, subresource="status")

    async def reached() -> bool:
        found = [await greeting(pods[0].make_socket(STREAM), "10.111.254.7") for _ in range(4)]
        return {server for each in found for server in each[:1]} == {pod.address for pod in pods}

    await until(reached)
