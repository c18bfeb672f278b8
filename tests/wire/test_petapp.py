"""The guests on real sockets: a DNS server made with dnslib, peers at 127.0.0.x, and the programs as processes."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import socket
import struct
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from io import BytesIO
from pathlib import Path
from random import Random

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from dnslib import AAAA, CNAME, QTYPE, RCODE, RR, SRV, A, DNSQuestion, DNSRecord

import petset
from petset.petapp import kubia, kubia_pet, kubia_pet_peers
from petset.petapp import web as web_guest
from petset.petapp.dns_exchange import LookupFailure
from petset.petapp.resolver import ResolvConf, Resolver, ServiceRecord
from petset.petapp.serving import Settings
from petset.petapp.storage import MAX_BYTES

REPOSITORY = Path(petset.__file__).parents[1]
KUBIA = "kubia.default.svc.cluster.local"
SEARCH = ("default.svc.cluster.local", "svc.cluster.local", "cluster.local")

Answer = Callable[[DNSRecord], "DNSRecord | bytes | None"]
"""What a fake DNS server sends for a query; None: nothing."""


class FakeDns:
    """A DNS server on 127.0.0.1, UDP and TCP on one port. It answers from functions and notes what it was asked."""

    def __init__(self, udp: Answer, tcp: Answer) -> None:
        self.asked: list[tuple[str, str, str]] = []
        self.port = 0
        self._answers = {"udp": udp, "tcp": tcp}

    def packets(self, wire: bytes, transport: str) -> list[bytes]:
        query = DNSRecord.parse(wire)
        self.asked.append((transport, str(query.q.qname), QTYPE[query.q.qtype]))
        answer = self._answers[transport](query)
        if answer is None:
            return []
        return [answer if isinstance(answer, bytes) else bytes(answer.pack())]


class _UdpSide(asyncio.DatagramProtocol):
    def __init__(self, server: FakeDns) -> None:
        self._server = server

    def connection_made(self, transport: asyncio.DatagramTransport) -> None:  # type: ignore[override]  # typeshed
        self._transport = transport

    def datagram_received(self, data: bytes, addr: tuple[str | int, ...]) -> None:
        for packet in self._server.packets(data, "udp"):
            for part in packet.split(b"<next packet>"):
                self._transport.sendto(part, addr)


@asynccontextmanager
async def fake_dns(udp: Answer, tcp: Answer = lambda query: None) -> AsyncIterator[FakeDns]:
    server = FakeDns(udp, tcp)

    async def serve_tcp(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        (length,) = struct.unpack("!H", await reader.readexactly(2))
        for packet in server.packets(await reader.readexactly(length), "tcp"):
            writer.write(struct.pack("!H", len(packet)) + packet)
        writer.close()

    listener = await asyncio.start_server(serve_tcp, "127.0.0.1", 0)
    server.port = listener.sockets[0].getsockname()[1]
    transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(
        lambda: _UdpSide(server), local_addr=("127.0.0.1", server.port)
    )
    try:
        yield server
    finally:
        transport.close()
        listener.close()
        await listener.wait_closed()


def zone(*records: RR, existing: tuple[str, ...] = ()) -> Answer:
    """Answers as a DNS server with these records does; SRV answers bring the targets' addresses along."""

    def answer(query: DNSRecord) -> DNSRecord:
        reply = query.reply(ra=0)
        owned = [rr for rr in records if rr.rname == query.q.qname]
        found = [rr for rr in owned if rr.rtype in (query.q.qtype, QTYPE.CNAME)]
        for rr in found:
            reply.add_answer(
                rr, *(more for more in records if rr.rtype == QTYPE.CNAME and more.rname == rr.rdata.label)
            )
        targets = [rr.rdata.target for rr in reply.rr if rr.rtype == QTYPE.SRV]
        reply.add_ar(*(rr for rr in records if rr.rname in targets and rr.rtype in (QTYPE.A, QTYPE.AAAA)))
        if not owned and str(query.q.qname).rstrip(".") not in existing:
            reply.header.rcode = RCODE.NXDOMAIN
        return reply

    return answer


def srv(owner: str, target: str, port: int = 8080) -> RR:
    return RR(owner, QTYPE.SRV, ttl=30, rdata=SRV(0, 50, port, target))


def address(owner: str, text: str) -> RR:
    return RR(owner, QTYPE.AAAA, ttl=30, rdata=AAAA(text)) if ":" in text else RR(owner, QTYPE.A, ttl=30, rdata=A(text))


def record(target: str, *addresses: str) -> ServiceRecord:
    return ServiceRecord(target=target, port=8080, priority=0, weight=50, addresses=addresses)


def resolver(port: int, **settings: object) -> Resolver:
    conf = {"search": SEARCH, "ndots": 5, "timeout_seconds": 10.0, "attempts": 1, "port": port} | settings
    return Resolver(ResolvConf(**conf), Random(1))  # type: ignore[arg-type]  # a table of settings


TWO_PEERS = (
    srv(KUBIA, f"kubia-0.{KUBIA}"),
    srv(KUBIA, f"kubia-1.{KUBIA}"),
    address(f"kubia-0.{KUBIA}", "127.0.0.11"),
    address(f"kubia-1.{KUBIA}", "fd00::11"),
)
TWO_RECORDS = [record(f"kubia-0.{KUBIA}", "127.0.0.11"), record(f"kubia-1.{KUBIA}", "fd00::11")]


@pytest.mark.parametrize(
    ("name", "records", "found", "asked"),
    [
        pytest.param(f"{KUBIA}.", TWO_PEERS, TWO_RECORDS, [KUBIA], id="absolute name, addresses of both families"),
        pytest.param("kubia", TWO_PEERS, TWO_RECORDS, [KUBIA], id="short name, first search domain"),
        pytest.param(
            "kubia.default",
            TWO_PEERS,
            TWO_RECORDS,
            ["kubia.default.default.svc.cluster.local", KUBIA],
            id="name and namespace, second search domain",
        ),
        pytest.param(
            KUBIA,
            TWO_PEERS,
            TWO_RECORDS,
            [f"{KUBIA}.{domain}" for domain in SEARCH] + [KUBIA],
            id="four dots are fewer than ndots, the whole list first",
        ),
        pytest.param(
            "kubia.",
            (srv("kubia.", "a.b"), address("c.d", "127.0.0.1")),
            [record("a.b")],
            ["kubia"],
            id="addresses of other names are not taken",
        ),
        pytest.param(
            "old.",
            (RR("old.", QTYPE.CNAME, rdata=CNAME("kubia.")), srv("kubia.", "a.b"), address("a.b", "127.0.0.1")),
            [record("a.b", "127.0.0.1")],
            ["old"],
            id="aliases are followed",
        ),
        pytest.param(
            "kubia.",
            (srv("kubia.", "a/b"), srv("kubia.", "."), srv("kubia.", "a.b")),
            [record("a.b")],
            ["kubia"],
            id="targets that are no host names are left out",
        ),
    ],
)
async def test_services_are_found(
    name: str, records: tuple[RR, ...], found: list[ServiceRecord], asked: list[str]
) -> None:
    async with fake_dns(zone(*records)) as server:
        assert await resolver(server.port).services(name) == found
    assert server.asked == [("udp", f"{one}.", "SRV") for one in asked]


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        pytest.param(zone(), "kubia.default: no such name", id="NXDOMAIN of every candidate"),
        pytest.param(zone(existing=(KUBIA,)), f"{KUBIA} has no SRV records", id="the name exists"),
        pytest.param(lambda query: None, "no answer from 127.0.0.1 within 0.2 s", id="silence"),
        pytest.param(lambda query: b"no packet", "no answer from 127.0.0.1 within 0.2 s", id="garbage"),
        pytest.param(
            lambda query: DNSRecord(query.header, query.questions),
            "no answer from 127.0.0.1",
            id="an echo is no answer",
        ),
    ],
)
async def test_a_failed_lookup_says_why(answer: Answer, words: str) -> None:
    seconds = 0.2 if "no answer" in words else 10.0
    async with fake_dns(answer) as server:
        with pytest.raises(LookupFailure, match=f"^{re.escape(words)}"):
            await resolver(server.port, timeout_seconds=seconds).services("kubia.default")


def servfail(query: DNSRecord) -> DNSRecord:
    reply = query.reply()
    reply.header.rcode = RCODE.SERVFAIL
    return reply


async def test_a_failing_server_is_asked_as_often_as_the_options_say() -> None:
    async with fake_dns(servfail) as server:
        with pytest.raises(LookupFailure, match=r"127\.0\.0\.1 answered SERVFAIL for kubia"):
            await resolver(server.port, search=(), attempts=3).services("kubia")
    assert len(server.asked) == 3


async def test_a_refused_port_is_told_at_once() -> None:
    with pytest.raises(LookupFailure, match=r"127\.0\.0\.1 port \d+: Connection refused"):
        await resolver(_free_port("127.0.0.1")).services("kubia")


async def test_the_next_server_is_asked_when_the_first_is_dead() -> None:
    async with fake_dns(zone(*TWO_PEERS)) as server:
        names = resolver(server.port, nameservers=("127.0.0.99", "127.0.0.1"))
        assert await names.services("kubia") == TWO_RECORDS


def cut_short(query: DNSRecord) -> bytes:
    """TC, and a packet that ends in the middle of its first record."""
    reply = zone(*TWO_PEERS)(query)
    assert isinstance(reply, DNSRecord)
    reply.header.tc = 1
    return bytes(reply.pack())[:60]


async def test_an_answer_that_was_cut_short_is_asked_again_by_tcp() -> None:
    peers = [srv(KUBIA, f"kubia-{number}.{KUBIA}") for number in range(200)]
    async with fake_dns(cut_short, tcp=zone(*peers)) as server:
        found = await resolver(server.port).services(f"{KUBIA}.")
    assert [one.target for one in found] == [f"kubia-{number}.{KUBIA}" for number in range(200)]
    assert [transport for transport, _, _ in server.asked] == ["udp", "tcp"]


async def test_an_answer_by_tcp_to_another_question_is_an_error() -> None:
    def other(query: DNSRecord) -> DNSRecord:
        reply = zone(*TWO_PEERS)(query)
        assert isinstance(reply, DNSRecord)
        reply.header.id ^= 1
        return reply

    async with fake_dns(cut_short, tcp=other) as server:
        with pytest.raises(LookupFailure, match="no answer to the question"):
            await resolver(server.port).services(f"{KUBIA}.")


def _with_other_id(reply: DNSRecord) -> None:
    reply.header.id ^= 1


def _with_other_question(reply: DNSRecord) -> None:
    reply.questions = [DNSQuestion("evil.example", QTYPE.SRV)]


def _with_other_type(reply: DNSRecord) -> None:
    reply.questions = [DNSQuestion(reply.q.qname, QTYPE.A)]


@pytest.mark.parametrize("spoil", [_with_other_id, _with_other_question, _with_other_type])
async def test_a_packet_that_answers_something_else_is_ignored(spoil: Callable[[DNSRecord], None]) -> None:
    def forged_then_true(query: DNSRecord) -> bytes:
        forged = zone(srv(KUBIA, "evil.example"))(query)
        true = zone(*TWO_PEERS)(query)
        assert isinstance(forged, DNSRecord)
        assert isinstance(true, DNSRecord)
        spoil(forged)
        return bytes(forged.pack()) + b"<next packet>" + bytes(true.pack())

    async with fake_dns(forged_then_true) as server:
        assert await resolver(server.port).services(f"{KUBIA}.") == TWO_RECORDS


async def test_the_question_may_come_back_in_other_letter_case() -> None:
    def loud(query: DNSRecord) -> DNSRecord:
        reply = zone(*TWO_PEERS)(query)
        assert isinstance(reply, DNSRecord)
        reply.q.qname = KUBIA.upper()
        return reply

    async with fake_dns(loud) as server:
        assert await resolver(server.port).services(f"{KUBIA}.") == TWO_RECORDS


async def test_a_name_that_no_packet_can_carry() -> None:
    with pytest.raises(LookupFailure, match="is not a DNS name"):
        await resolver(53).services("x" * 64)


# --- the applications over HTTP ---------------------------------------------------------------------------------


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


def _free_port(host: str) -> int:
    with socket.socket() as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])


async def test_peers_show_everybodys_data_and_say_who_failed(tmp_path: Path) -> None:
    port = _free_port("127.0.0.11")
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
        port = _free_port("127.0.0.1")
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


# --- the programs as processes ----------------------------------------------------------------------------------


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
