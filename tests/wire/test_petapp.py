"""The guests over HTTP: what each answers, and peers at 127.0.0.x that find one another by DNS."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from io import BytesIO
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from dnslib import QTYPE

from petset.petapp import kubia, kubia_pet, kubia_pet_peers
from petset.petapp import web as web_guest
from petset.petapp.serving import Settings
from petset.petapp.storage import MAX_BYTES
from tests.wire.fake_dns import KUBIA, address, fake_dns, free_port, srv, zone


def settings(tmp_path: Path, *, hostname: str = "kubia-0", port: int = 8080, service: str = KUBIA) -> Settings:
    return Settings(
        hostname=hostname,
        bind="127.0.0.1",
        port=port,
        data_folder=tmp_path / "data",
        webroot=tmp_path / "html",
        resolv_conf=tmp_path / "resolv.conf",
        service=service,
    )


@asynccontextmanager
async def client(app: web.Application) -> AsyncIterator[TestClient[web.Request, web.Application]]:
    async with TestClient(TestServer(app)) as one:
        yield one


async def test_kubia_answers_everything_with_its_name(tmp_path: Path) -> None:
    async with client(kubia.make_app(settings(tmp_path))) as http:
        for method, path in [("GET", "/"), ("POST", "/a/b?c"), ("DELETE", "/x")]:
            assert await (await http.request(method, path)).text() == "You've hit kubia-0\n"


async def test_kubia_pet_keeps_what_was_posted(tmp_path: Path) -> None:
    async with client(kubia_pet.make_app(settings(tmp_path))) as http:
        assert await (await http.get("/")).text() == "You've hit kubia-0\nData stored on this pod: No data posted yet\n"
        assert await (await http.post("/", data="Hey there!")).text() == "Data stored on pod kubia-0\n"
        assert (tmp_path / "data" / "kubia.txt").read_bytes() == b"Hey there!"
    async with client(kubia_pet.make_app(settings(tmp_path))) as restarted:
        assert await (await restarted.get("/any")).text() == (
            "You've hit kubia-0\nData stored on this pod: Hey there!\n"
        )


@pytest.mark.parametrize("chunked", [False, True], ids=["announced length", "chunked"])
async def test_kubia_pet_refuses_a_body_over_the_bound(tmp_path: Path, chunked: bool) -> None:
    async def in_chunks() -> AsyncIterator[bytes]:
        yield b"y" * MAX_BYTES
        yield b"y"

    async with client(kubia_pet.make_app(settings(tmp_path))) as http:
        assert (await http.post("/", data=b"x" * MAX_BYTES)).status == 200
        answer = await http.post("/", data=in_chunks() if chunked else BytesIO(b"y" * (MAX_BYTES + 1)))
        assert answer.status == 413
    assert (tmp_path / "data" / "kubia.txt").read_bytes() == b"x" * MAX_BYTES


async def test_kubia_pet_tells_of_a_disk_that_went_away(tmp_path: Path) -> None:
    async with client(kubia_pet.make_app(settings(tmp_path))) as http:
        (tmp_path / "data").rmdir()
        answer = await http.post("/", data="lost")
        assert (answer.status, await answer.text()) == (
            500,
            "Could not store data on pod kubia-0: No such file or directory\n",
        )


async def test_web_serves_its_folder(tmp_path: Path) -> None:
    async with client(web_guest.make_app(settings(tmp_path, hostname="web-0"))) as http:
        assert "This is web-0." in await (await http.get("/")).text()
        (tmp_path / "html").mkdir()
        (tmp_path / "html" / "index.html").write_text("<p>mine</p>")
        page = await http.get("/")
        assert (await page.text(), page.content_type) == ("<p>mine</p>", "text/html")
        missing = await http.get("/missing")
        assert (missing.status, missing.content_type, missing.headers["Server"]) == (404, "text/html", "petset-web")
        wrong = await http.post("/")
        assert (wrong.status, wrong.headers["Allow"]) == (405, "GET,HEAD")
        assert (await http.head("/")).status == 200


async def _hold_connections(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Accept, and never say a word."""
    await reader.read()
    writer.close()


async def _answer_500(request: web.Request) -> web.Response:
    return web.Response(status=500)


async def test_peers_show_everybodys_data_and_say_who_failed(tmp_path: Path) -> None:
    port = free_port("127.0.0.11")
    # kubia-0 asks; 1 answers, looked up by a query of its own; 2 is dead; 3 is slow; 4 is broken; 5 has no address
    records = [srv(KUBIA, f"kubia-{number}.{KUBIA}", port=80) for number in (5, 3, 1, 0, 4, 2)]
    records += [address(f"kubia-{number}.{KUBIA}", f"127.0.0.{11 + number}") for number in (0, 2, 3, 4)]
    complete = zone(*records, address(f"kubia-1.{KUBIA}", "127.0.0.12"))
    incomplete = zone(*records)
    broken = web.Application()
    broken.router.add_get("/data", _answer_500)
    async with AsyncExitStack() as stack:
        dns = await stack.enter_async_context(
            fake_dns(lambda query: (incomplete if query.q.qtype == QTYPE.SRV else complete)(query))
        )
        (tmp_path / "resolv.conf").write_text(f"nameserver 127.0.0.1\nport {dns.port}\n")
        for number in (0, 1):
            app = kubia_pet_peers.make_app(settings(tmp_path, hostname=f"kubia-{number}", port=port))
            await stack.enter_async_context(TestServer(app, host=f"127.0.0.{11 + number}", port=port))
        await stack.enter_async_context(TestServer(broken, host="127.0.0.15", port=port))
        slow = await asyncio.start_server(_hold_connections, "127.0.0.14", port)
        stack.callback(slow.close)
        http = await stack.enter_async_context(aiohttp.ClientSession())
        async with http.post(f"http://127.0.0.11:{port}/", data="nice!"):
            pass
        async with http.get(f"http://127.0.0.11:{port}/data") as answer:
            assert await answer.text() == "nice!"
        async with http.get(f"http://127.0.0.11:{port}/") as answer:
            assert (answer.status, (await answer.text()).splitlines()) == (
                200,
                [
                    "You've hit kubia-0",
                    "Data stored in the cluster:",
                    f"- kubia-0.{KUBIA}: nice!",
                    f"- kubia-1.{KUBIA}: nice!",
                    f"- kubia-2.{KUBIA}: Error: Connection refused",
                    f"- kubia-3.{KUBIA}: Error: no answer within 1 s",
                    f"- kubia-4.{KUBIA}: Error: answered 500 Internal Server Error",
                    f"- kubia-5.{KUBIA}: Error: kubia-5.{KUBIA}: no such name",
                ],
            )


async def test_a_peer_is_asked_under_its_own_name(tmp_path: Path) -> None:
    hosts: list[str] = []

    async def note_host(request: web.Request) -> web.Response:
        hosts.append(request.host)
        return web.Response(text="good!")

    peer = web.Application()
    peer.router.add_get("/data", note_host)
    async with AsyncExitStack() as stack:
        port = free_port("127.0.0.1")
        await stack.enter_async_context(TestServer(peer, port=port))
        dns = await stack.enter_async_context(fake_dns(zone(srv("peers", "a.peers"), address("a.peers", "127.0.0.1"))))
        (tmp_path / "resolv.conf").write_text(f"nameserver 127.0.0.1\nport {dns.port}\n")
        app = kubia_pet_peers.make_app(settings(tmp_path, port=port, service="peers"))
        http = await stack.enter_async_context(client(app))
        assert (await (await http.get("/")).text()).endswith("- a.peers: good!\n")
    assert hosts == [f"a.peers:{port}"]


async def test_peers_that_cannot_be_found_are_one_line(tmp_path: Path) -> None:
    async with client(kubia_pet_peers.make_app(settings(tmp_path))) as http:
        answer = await http.get("/")
        assert (answer.status, await answer.text()) == (
            200,
            "You've hit kubia-0\nData stored in the cluster:\nCould not look up DNS SRV records: "
            f"cannot read {tmp_path}/resolv.conf: No such file or directory\n",
        )
