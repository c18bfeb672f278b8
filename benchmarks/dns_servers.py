"""What benchmarks/dns.py compares: the cluster that every server answers for, the questions, and the servers.

python -m benchmarks.dns_servers KIND PORT      one of ours, or dnslib's own, until it is stopped
"""

from __future__ import annotations

import asyncio
import random
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

ZONE = "cluster.local"
SVC = f"svc.{ZONE}"
SERVICES = 1000
TTL_SECONDS = 5
HOST = "127.0.0.1"

Command = Callable[[Path, int], list[str]]
"""From a folder with the zone file and a port to what starts a server there."""


def objects() -> list[dict[str, Any]]:
    made: list[dict[str, Any]] = [{"kind": "Namespace", "metadata": _metadata("default", namespace="")}]
    made.append(_service("kubia", "None"))
    endpoints = [
        {"addresses": [f"10.244.{number + 1}.2"], "conditions": {"ready": True}, "hostname": f"kubia-{number}"}
        for number in range(3)
    ]
    made.append(
        {
            "kind": "EndpointSlice",
            "metadata": {**_metadata("kubia-a"), "labels": {"kubernetes.io/service-name": "kubia"}},
            "addressType": "IPv4",
            "endpoints": endpoints,
            "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}],
        }
    )
    return made + [_service(f"web-{number}", _address(number)) for number in range(SERVICES)]


def zone_file() -> str:
    lines = [
        f"$TTL {TTL_SECONDS}",
        f"@ IN SOA ns.dns.{ZONE}. hostmaster.{ZONE}. 1 7200 1800 86400 {TTL_SECONDS}",
        f"@ IN NS ns.dns.{ZONE}.",
        f"ns.dns.{ZONE}. IN A 10.96.0.10",
    ]
    for number in range(3):
        host = f"kubia-{number}.kubia.default.{SVC}."
        lines += [
            f"{host} IN A 10.244.{number + 1}.2",
            f"kubia.default.{SVC}. IN A 10.244.{number + 1}.2",
            f"_http._tcp.kubia.default.{SVC}. IN SRV 0 33 8080 {host}",
        ]
    for number in range(SERVICES):
        name = f"web-{number}.default.{SVC}."
        lines += [f"{name} IN A {_address(number)}", f"_http._tcp.{name} IN SRV 0 100 80 {name}"]
    return "\n".join(lines) + "\n"


def questions(load: str) -> str:
    if load == "srv":
        return f"_http._tcp.kubia.default.{SVC} SRV\n"
    chance = random.Random(6)
    lines = []
    for _ in range(20_000):
        name = f"web-{chance.randrange(SERVICES)}.default.{SVC}"
        draw = chance.random()
        if draw < 0.2:
            lines.append(f"web-{chance.randrange(SERVICES)}.default.{SVC}.default.{SVC} {chance.choice(['A', 'AAAA'])}")
        elif draw < 0.6:
            lines.append(f"{name} A")
        elif draw < 0.8:
            lines.append(f"{name} AAAA")
        else:
            lines.append(f"_http._tcp.{name} SRV")
    return "\n".join(lines) + "\n"


def distinct_names(first: int, count: int) -> Iterator[str]:
    """Questions of which no two are the same: every other one for a pod's name, which exists, as addresses do."""
    for number in range(first, first + count):
        if number % 2:
            yield f"10-{number >> 16 & 255}-{number >> 8 & 255}-{number & 255}.default.pod.{ZONE} A\n"
        else:
            yield f"missing-{number}.default.{SVC} A\n"


def _metadata(name: str, *, namespace: str = "default") -> dict[str, Any]:
    return {"name": name, "namespace": namespace, "resourceVersion": "1"}


def _service(name: str, address: str) -> dict[str, Any]:
    ports = [{"name": "http", "port": 80, "protocol": "TCP"}]
    spec = {"type": "ClusterIP", "clusterIP": address, "clusterIPs": [address], "ports": ports}
    return {"kind": "Service", "metadata": _metadata(name), "spec": spec}


def _address(number: int) -> str:
    return f"10.96.{1 + number // 250}.{number % 250 + 1}"


def knot(folder: Path, port: int) -> list[str]:
    # Two of them may stand side by side.
    rundir = folder / f"knot-{port}"
    rundir.mkdir(exist_ok=True)
    config = rundir / "knot.conf"
    config.write_text(
        f"server:\n  listen: {HOST}@{port}\n  udp-workers: 1\n  tcp-workers: 1\n  background-workers: 1\n"
        f"  rundir: {rundir}\ndatabase:\n  storage: {rundir}\nlog:\n- target: stderr\n  any: error\n"
        f"zone:\n- domain: {ZONE}\n  file: {folder / 'zone'}\n  zonefile-sync: -1\n  journal-content: none\n"
    )
    return ["knotd", "-c", str(config)]


def nsd(folder: Path, port: int) -> list[str]:
    config = folder / "nsd.conf"
    config.write_text(
        f'server:\n  ip-address: {HOST}\n  port: {port}\n  server-count: 1\n  username: ""\n  chroot: ""\n'
        f"  zonesdir: {folder}\n  pidfile: {folder / 'nsd.pid'}\n  xfrdfile: {folder / 'xfrd'}\n"
        f"  zonelistfile: {folder / 'zones'}\n  logfile: {folder / 'nsd.log'}\n  rrl-ratelimit: 0\n"
        f"remote-control:\n  control-enable: no\nzone:\n  name: {ZONE}\n  zonefile: {folder / 'zone'}\n"
    )
    return ["nsd", "-d", "-c", str(config)]


def ours(kind: str) -> Command:
    return lambda folder, port: [sys.executable, "-m", "benchmarks.dns_servers", kind, str(port)]


CONTROL = "knot-again"
"""A second Knot: how far a ratio to Knot's is from 1 when nothing differs."""
SERVERS: dict[str, Command] = {
    "knot": knot,
    CONTROL: knot,
    "nsd": nsd,
    "petset": ours("portable"),
    "petset-batched": ours("batched"),
    "dnslib": ours("dnslib"),
}


async def serve(kind: str, port: int) -> None:
    from petset.dns.agent import DnsAgent
    from petset.dns.batches import configured_loop

    loop = configured_loop(kind)
    client: Any = StandingClient()
    agent = DnsAgent(client, addresses=["10.96.0.10"], host=HOST, port=port, ttl_seconds=TTL_SECONDS, loop=loop)
    await agent.run()


def serve_with_dnslib(port: int) -> None:
    """dnslib's own server, answering from the same zone file, without its log."""
    from dnslib import QTYPE, RCODE, RR
    from dnslib.server import BaseResolver, DNSLogger, DNSServer

    records: dict[tuple[str, str], list[Any]] = {}
    names = set()
    for record in RR.fromZone(zone_file(), origin=f"{ZONE}."):
        records.setdefault((str(record.rname), QTYPE[record.rtype]), []).append(record)
        names.add(str(record.rname))
    [soa] = records[f"{ZONE}.", "SOA"]

    class Resolver(BaseResolver):  # type: ignore[misc]  # dnslib has no types
        def resolve(self, request: Any, handler: Any) -> Any:
            reply = request.reply(ra=0)
            name, type_ = str(request.q.qname).lower(), QTYPE[request.q.qtype]
            found = records.get((name, type_), [])
            reply.add_answer(*found)
            if type_ == "SRV":
                reply.add_ar(*(each for rr in found for each in records.get((str(rr.rdata.target), "A"), ())))
            if not found:
                reply.header.rcode = RCODE.NOERROR if name in names else RCODE.NXDOMAIN
                reply.add_auth(soa)
            return reply

    DNSServer(Resolver(), port=port, address=HOST, logger=DNSLogger(logf=lambda text: None)).start()


class StandingClient:
    """As much of a `Client` as informers use, over objects that never change."""

    async def list(self, kind: str, namespace: str = "", **selectors: str) -> Any:
        from petset.cluster.control.client import Listing

        return Listing([each for each in objects() if each["kind"] == kind], "1")

    @asynccontextmanager
    async def watch(self, kind: str, namespace: str = "", **options: str) -> AsyncIterator[AsyncIterator[Any]]:
        async def nothing() -> AsyncIterator[Any]:
            await asyncio.Event().wait()
            yield None

        yield nothing()


if __name__ == "__main__":
    wanted, on_port = sys.argv[1], int(sys.argv[2])
    if wanted == "dnslib":
        serve_with_dnslib(on_port)
    else:
        asyncio.run(serve(wanted, on_port))
