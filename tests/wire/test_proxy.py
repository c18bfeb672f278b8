"""The proxy subresource of pods and services: forms of names, bodies both ways, upgrades, links and redirects."""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterator

import aiohttp
import psutil
import pytest
import pytest_asyncio

from tests.wire.real_cluster import RealCluster, real_cluster
from tests.wire.session_kit import administrator, proxy_path, run_guests
from tests.wire.slots import own_slot

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def cluster(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[RealCluster]:
    async with real_cluster(tmp_path_factory.mktemp("home"), slot=own_slot(51)) as it:
        await run_guests(it)
        yield it


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def services(cluster: RealCluster) -> None:
    """`front` before `site`, `safe-front` before `safe-site`, by EndpointSlices of their own."""
    for name, pod, port in (
        ("front", "site", {"name": "http", "port": 80}),
        ("safe-front", "safe-site", {"port": 443}),
    ):
        metadata = {"name": name, "namespace": "default"}
        await cluster.client.create(
            {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": {"ports": [port]}}
        )
        slice_ = {
            "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
            "metadata": {**metadata, "labels": {"kubernetes.io/service-name": name}},
            "endpoints": [{"addresses": [(await cluster.pod(pod))["status"]["podIP"]], "conditions": {"ready": True}}],
            "ports": [{"name": port.get("name", ""), "port": 8080}],
        }  # fmt: skip
        await cluster.client.create(slice_)


@pytest.mark.parametrize(
    "name",
    ["site", "site:8080", "site:http", "http:site:8080", "https:safe-site:8080"],
    ids=["first port", "number", "name", "http", "https"],
)
async def test_forms_of_a_name(cluster: RealCluster, name: str) -> None:
    body = io.BytesIO(b"x" * 5_000_000)
    async with administrator(cluster) as session, session.put(proxy_path(name, "echo?a=1"), data=body) as answer:
        assert await answer.json() == {"method": "PUT", "path": "/echo?a=1", "length": 5_000_000}


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "QUERY"])
async def test_any_method(cluster: RealCluster, method: str) -> None:
    async with (
        administrator(cluster) as session,
        session.request(method, proxy_path("site", "echo"), data=b"body") as answer,
    ):
        assert await answer.json() == {"method": method, "path": "/echo", "length": 4}


@pytest.mark.parametrize("name", ["front:http", "front:80", "https:safe-front:443"])
async def test_a_service_by_its_port(cluster: RealCluster, services: None, name: str) -> None:
    path = f"/api/v1/namespaces/default/services/{name}/proxy/echo"
    async with administrator(cluster) as session, session.get(path) as answer:
        assert answer.status == 200, await answer.text()
        assert (await answer.json())["path"] == "/echo"


@pytest.mark.parametrize("to", ["/echo", "{own}/echo", "echo"], ids=["absolute path", "full URL", "relative"])
async def test_redirects_stay_inside(cluster: RealCluster, to: str) -> None:
    own = f"http://{(await cluster.pod('site'))['status']['podIP']}:8080"
    async with (
        administrator(cluster) as session,
        session.get(proxy_path("site", "moved"), params={"to": to.format(own=own)}) as answer,
    ):
        assert (await answer.json())["path"] == "/echo"


@pytest.mark.parametrize("encoding", ["identity", "gzip", "deflate"])
async def test_links_of_a_page_stay_inside(cluster: RealCluster, encoding: str) -> None:
    path = proxy_path("site", "page")
    async with (
        administrator(cluster) as session,
        session.get(path, headers={"Accept-Encoding": encoding}) as answer,
    ):
        assert answer.headers.get("Content-Encoding", "identity") == encoding
        text = await answer.text()
    root = path.removesuffix("/page")
    links = f'<a href="{root}/echo?a">a</a><a href="{root}/echo?own">b</a><a href="echo?c">c</a>'
    assert text == f'<!doctype html><title>é</title>{links}<script>"<a href=/echo>"</script>'


async def test_the_head_of_a_page_is_as_the_pod_gives_it(cluster: RealCluster) -> None:
    async with administrator(cluster) as session, session.head(proxy_path("site", "page")) as answer:
        assert (answer.status, await answer.read()) == (200, b"")


async def test_bodies_stream_both_ways_at_a_time(cluster: RealCluster) -> None:
    said: asyncio.Queue[bytes] = asyncio.Queue()

    async def body() -> AsyncIterator[bytes]:
        while word := await said.get():
            yield word

    said.put_nowait(b"first")
    async with (
        administrator(cluster) as session,
        session.post(proxy_path("site", "duplex"), data=body()) as answer,
    ):
        assert await answer.content.readexactly(5) == b"first"
        said.put_nowait(b"second")
        assert await answer.content.readexactly(6) == b"second"
        said.put_nowait(b"")
        assert await answer.read() == b""


async def test_an_answer_that_breaks_off_breaks_off_for_the_client(
    cluster: RealCluster, caplog: pytest.LogCaptureFixture
) -> None:
    async with administrator(cluster) as session, session.get(proxy_path("site", "breaks")) as answer:
        assert answer.status == 200
        with pytest.raises(aiohttp.ClientPayloadError):
            await answer.read()
    assert [each for each in caplog.records if each.name == "aiohttp.server"] == []


async def test_a_long_download_holds_memory_flat(cluster: RealCluster) -> None:
    """The short form of `benchmarks/streams.py proxy`. API server and client share this process."""
    size, before, came, most = 128 * 1024 * 1024, psutil.Process().memory_info().rss, 0, 0
    async with administrator(cluster) as session, session.get(proxy_path("site", f"big?bytes={size}")) as answer:
        async for piece in answer.content.iter_chunked(1024 * 1024):
            came += len(piece)
            most = max(most, psutil.Process().memory_info().rss)
    assert came == size
    assert most - before < 32 * 1024 * 1024


@pytest.mark.parametrize("name", ["site", "https:safe-site:8080"], ids=["ws", "wss"])
async def test_a_websocket_through_the_proxy(cluster: RealCluster, name: str) -> None:
    async with administrator(cluster) as session, session.ws_connect(proxy_path(name, "ws")) as connection:
        for number in range(3):
            await connection.send_str(f"hello {number}")
            assert await connection.receive_str() == f"echo hello {number}"


async def test_an_upgrade_that_the_pod_refuses(cluster: RealCluster) -> None:
    async with administrator(cluster) as session:
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await session.ws_connect(proxy_path("site", "nothing"))
    assert refused.value.status == 404


async def test_a_download_that_nobody_reads_is_not_buffered(cluster: RealCluster) -> None:
    """API server and client share this process: its memory is theirs."""
    size, before = 1024 * 1024 * 1024, psutil.Process().memory_info().rss
    async with administrator(cluster) as session, session.get(proxy_path("site", f"big?bytes={size}")) as answer:
        assert (await answer.content.readexactly(1024 * 1024)).count(0) == 1024 * 1024
        await asyncio.sleep(1.0)
        grown = psutil.Process().memory_info().rss - before
    assert grown < 64 * 1024 * 1024
