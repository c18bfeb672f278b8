"""What a DNS answer costs: petset's name server beside Knot, NSD and dnslib's own server, in one run.

    server, pinned to the first core ◀── loopback ──▶ dnsperf, pinned to the last

Every server answers for the same cluster, a moment each, in turn, `--rounds` times round, after all questions were
asked once. The figure is CPU time per answered query (user and system, all threads of the server); queries per second
are shown beside it. Ratios compare a server with Knot within one round. Medians are of the rounds in which the server
waited for its core less than QUIET of the time, if there are any: a machine with other work makes every server take
packets one by one, which costs each of them differently.

    srv   _http._tcp.kubia.default.svc.cluster.local, three peers with their addresses
    mix   20,000 questions: A, AAAA and SRV of 1000 services, every fifth for a name that does not exist

Needs Debian's packages knot, nsd and dnsperf; says so and ends where they are missing.

    python benchmarks/dns.py [--rounds 5] [--seconds 1] [--load srv]
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import psutil

ZONE = "cluster.local"
SVC = f"svc.{ZONE}"
SERVICES = 1000
TTL_SECONDS = 5
PORT = 5399
HOST = "127.0.0.1"
PROGRAMS = ("knotd", "nsd", "dnsperf")
START_SECONDS = 20.0
QUIET = 0.05


@dataclass(frozen=True)
class Run:
    """One server under one load for a moment."""

    cpu_microseconds: float
    queries_per_second: float
    lost: int
    waited: float
    """Share of the time in which a core was wanted and not to be had."""

    @property
    def is_quiet(self) -> bool:
        return self.waited < QUIET


# The cluster, as Kubernetes objects, as a zone file, and as questions.


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


def _metadata(name: str, *, namespace: str = "default") -> dict[str, Any]:
    return {"name": name, "namespace": namespace, "resourceVersion": "1"}


def _service(name: str, address: str) -> dict[str, Any]:
    ports = [{"name": "http", "port": 80, "protocol": "TCP"}]
    spec = {"type": "ClusterIP", "clusterIP": address, "clusterIPs": [address], "ports": ports}
    return {"kind": "Service", "metadata": _metadata(name), "spec": spec}


def _address(number: int) -> str:
    return f"10.96.{1 + number // 250}.{number % 250 + 1}"


# The servers.


def knot(folder: Path) -> list[str]:
    config = folder / "knot.conf"
    config.write_text(
        f"server:\n  listen: {HOST}@{PORT}\n  udp-workers: 1\n  tcp-workers: 1\n  background-workers: 1\n"
        f"  rundir: {folder}\ndatabase:\n  storage: {folder}\nlog:\n- target: stderr\n  any: error\n"
        f"zone:\n- domain: {ZONE}\n  file: {folder / 'zone'}\n  zonefile-sync: -1\n  journal-content: none\n"
    )
    return ["knotd", "-c", str(config)]


def nsd(folder: Path) -> list[str]:
    config = folder / "nsd.conf"
    config.write_text(
        f'server:\n  ip-address: {HOST}\n  port: {PORT}\n  server-count: 1\n  username: ""\n  chroot: ""\n'
        f"  zonesdir: {folder}\n  pidfile: {folder / 'nsd.pid'}\n  xfrdfile: {folder / 'xfrd'}\n"
        f"  zonelistfile: {folder / 'zones'}\n  logfile: {folder / 'nsd.log'}\n  rrl-ratelimit: 0\n"
        f"remote-control:\n  control-enable: no\nzone:\n  name: {ZONE}\n  zonefile: {folder / 'zone'}\n"
    )
    return ["nsd", "-d", "-c", str(config)]


def ours(kind: str) -> Callable[[Path], list[str]]:
    return lambda folder: [sys.executable, __file__, "--serve", kind]


SERVERS: dict[str, Callable[[Path], list[str]]] = {
    "knot": knot,
    "nsd": nsd,
    "petset": ours("one-by-one"),
    "petset-batches": ours("batches"),
    "dnslib": ours("dnslib"),
}


async def serve(kind: str) -> None:
    from petset.dns.agent import DnsAgent
    from petset.dns.batches import answer_in_batches
    from petset.dns.datagrams import answer_one_by_one

    loop = answer_in_batches if kind == "batches" else answer_one_by_one
    client: Any = StandingClient()
    agent = DnsAgent(client, addresses=["10.96.0.10"], host=HOST, port=PORT, ttl_seconds=TTL_SECONDS, loop=loop)
    await agent.run()


def serve_with_dnslib() -> None:
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

    DNSServer(Resolver(), port=PORT, address=HOST, logger=DNSLogger(logf=lambda text: None)).start()


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


# Measuring.


@contextmanager
def running(command: list[str], core: int) -> Iterator[int]:
    process = subprocess.Popen(
        command,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        preexec_fn=lambda: os.sched_setaffinity(0, [core]),
    )
    try:
        _wait_until_it_answers(process)
        yield process.pid
    finally:
        process.terminate()
        process.wait()


def _wait_until_it_answers(process: subprocess.Popen[bytes]) -> None:
    import dnslib

    query = dnslib.DNSRecord.question(f"web-1.default.{SVC}")
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        with suppress(OSError):
            if dnslib.DNSRecord.parse(query.send(HOST, PORT, timeout=0.2)).rr:
                return
        time.sleep(0.05)
    raise RuntimeError(f"{process.args} does not answer")


def measure(pid: int, load: Path, *, core: int, seconds: float) -> Run:
    _ask(load, core, "-n", "1")
    before, waited_before = _cpu_seconds(pid), _waited_seconds(pid)
    output = _ask(load, core, "-l", str(seconds))
    cpu_seconds, waited_seconds = _cpu_seconds(pid) - before, _waited_seconds(pid) - waited_before
    completed = int(_figure(r"Queries completed:\s+(\d+)", output))
    return Run(
        cpu_microseconds=cpu_seconds * 1e6 / max(completed, 1),
        queries_per_second=_figure(r"Queries per second:\s+([\d.]+)", output),
        lost=int(_figure(r"Queries lost:\s+(\d+)", output)),
        waited=waited_seconds / max(waited_seconds + cpu_seconds, 1e-9),
    )


def _ask(load: Path, core: int, *options: str) -> str:
    """What dnsperf says at its end."""
    command = ["dnsperf", "-s", HOST, "-p", str(PORT), "-d", str(load), "-c", "8", "-q", "100", *options]
    return subprocess.run(
        command, capture_output=True, text=True, check=True, preexec_fn=lambda: os.sched_setaffinity(0, [core])
    ).stdout


def _figure(pattern: str, text: str) -> float:
    found = re.search(pattern, text)
    if found is None:
        raise RuntimeError(f"dnsperf did not say {pattern!r}:\n{text}")
    return float(found.group(1))


def _family(pid: int) -> list[psutil.Process]:
    """A process and its children (NSD answers in one)."""
    process = psutil.Process(pid)
    return [process, *process.children(recursive=True)]


def _cpu_seconds(pid: int) -> float:
    """Time on a core, of all threads, ended ones too."""
    times = [each.cpu_times() for each in _family(pid)]
    return sum(each.user + each.system for each in times)


def _waited_seconds(pid: int) -> float:
    """Time in which a thread could run and had to wait for a core."""
    tasks = (task for each in _family(pid) for task in Path(f"/proc/{each.pid}/task").iterdir())
    nanoseconds = 0
    for task in tasks:
        with suppress(OSError):
            nanoseconds += int((task / "schedstat").read_text().split()[1])
    return nanoseconds / 1e9


def compare(load: str, wanted: set[str], *, rounds: int, seconds: float) -> None:
    cores = sorted(os.sched_getaffinity(0))
    runs: dict[str, list[Run]] = {name: [] for name in SERVERS if name in wanted}
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="petset-dns-")))
        (folder / "zone").write_text(zone_file())
        asked = folder / "questions"
        asked.write_text(questions(load))
        for _ in range(rounds):
            for name, made in runs.items():
                with running(SERVERS[name](folder), cores[0]) as pid:
                    made.append(measure(pid, asked, core=cores[-1], seconds=seconds))
    print(f"\n{load}: {rounds} rounds of {seconds:g} s, {len(cores)} cores, medians of the quiet rounds")
    titles = ("", "CPU us/query", "of Knot", "quiet", "all rounds", "queries/s", "lost")
    print("  ".join(f"{title:>{width}}" for title, width in zip(titles, (16, 12, 8, 5, 11, 9, 5), strict=True)))
    for name, made in runs.items():
        pairs = list(zip(made, runs["knot"], strict=True))
        quiet = [pair for pair in pairs if pair[0].is_quiet and pair[1].is_quiet]
        ratios, kept = _ratios(pairs), [run for run, _ in quiet or pairs]
        print(
            f"{name:>16}  {median(run.cpu_microseconds for run in kept):>12.2f}"
            f"  {median(_ratios(quiet) or ratios):>8.2f}  {len(quiet):>5}  {min(ratios):>5.2f}-{max(ratios):<5.2f}"
            f"  {median(run.queries_per_second for run in kept):>9.0f}  {sum(run.lost for run in made):>5}"
        )


def _ratios(pairs: list[tuple[Run, Run]]) -> list[float]:
    return [run.cpu_microseconds / base.cpu_microseconds for run, base in pairs]


def main() -> None:
    parser = argparse.ArgumentParser(description="CPU time per DNS answer, beside Knot, NSD and dnslib.")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument(
        "--servers", default=",".join(SERVERS), help="which ones, comma-separated; Knot is always there"
    )
    parser.add_argument("--load", choices=("srv", "mix", "both"), default="both")
    parser.add_argument("--serve", choices=("one-by-one", "batches", "dnslib"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve == "dnslib":
        serve_with_dnslib()
        return
    if options.serve:
        asyncio.run(serve(options.serve))
        return
    missing = [program for program in PROGRAMS if shutil.which(program) is None]
    if missing:
        print(f"skipped: {', '.join(missing)} not found; install the packages knot, nsd and dnsperf")
        return
    for load in ("srv", "mix") if options.load == "both" else (options.load,):
        compare(load, {"knot", *options.servers.split(",")}, rounds=options.rounds, seconds=options.seconds)


if __name__ == "__main__":
    main()
