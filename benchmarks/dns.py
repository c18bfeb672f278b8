"""What a DNS answer costs: petset's name server beside Knot, NSD and dnslib's own server, in one run.

    servers, pinned to the first core ◀── loopback ──▶ who asks, pinned to the last

All servers stand side by side and answer for the same cluster (dns_servers.py); each is asked for a moment, in turn,
round after round, after all questions were asked once. Those who are not asked sleep. Ratios compare a server with Knot
within one round: short rounds, and many, see the same neighbours.

    cpu      CPU time per answered query (user and system, all threads of the server), as fast as dnsperf goes: the
             kernel's clocks of the processes, in nanoseconds. Medians are of the rounds in which the server waited for
             its core less than QUIET of the time, if there are any: a machine with other work makes every server take
             packets one by one, which costs each of them differently
             srv   _http._tcp.kubia.default.svc.cluster.local, three peers with their addresses
             mix   20,000 questions: A, AAAA and SRV of 1000 services, every fifth for a name that does not exist
    p99      latency at LATENCY_RATE queries per second (dns_latency.py, or `--pace dnsperf`), in an order that is
             shuffled for each round; who asks and who answers go before all else on the machine, where that is allowed
             (root): otherwise the neighbours' time slices are measured
    memory   resident memory after a tenth of `--names` distinct questions, and after all of them

A second Knot is among the servers: its ratios to the first say what this machine can tell apart.

Each target is printed with what was measured, and whether it held. A ratio of 99th percentiles holds if the interval of
its median ends at 1, is missed if it begins above 1, and is a tie if 1 is in it, as it is for the second Knot. Needs
Debian's packages knot, nsd and dnsperf; says so and ends where they are missing.

    python -m benchmarks.dns [--only cpu,p99,memory] [--load srv] [--rounds 15] [--seconds 0.4] [--latency-rounds 240]
                             [--pace own] [--names 1000000]
"""

from __future__ import annotations

import argparse
import os
import random
import re
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import astuple, dataclass, field, replace
from functools import cache
from pathlib import Path
from statistics import median

import psutil

from benchmarks.dns_latency import Estimate, Spread, ask_at_pace, undisturbed
from benchmarks.dns_servers import HOST, SERVERS, SVC, distinct_names, questions, zone_file

FIRST_PORT = 5390
PROGRAMS = ("knotd", "nsd", "dnsperf")
START_SECONDS = 20.0
QUIET = 0.05
LATENCY_RATE = 20_000
LATENCY_QUERIES = 500
"""Of one server in one round: a fortieth of a second, of which the fifth slowest is the 99th percentile."""
WARM_UP_QUERIES = 30
ROUNDS_OF_A_PROCESS = 80
"""Then all servers start anew: where its memory happens to lie makes a process some percent slower for its life."""
SHUFFLE_SEED = 6
_CPUCLOCK_SCHED = 2
MAX_CPU_OF_KNOT = {"petset": 1.25, "petset-batched": 1.05}
MIN_TIMES_DNSLIB = 40.0
REMEMBERING = "petset-batched"
"""Whose memory is looked at: all loops have the same cache, and nothing of their own that grows."""
MAX_GROWTH = 1.05
"""Of memory, from a tenth of all names on: flat, but for what an allocator does."""


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


@dataclass
class Verdicts:
    """The targets, and what became of them."""

    lines: list[str] = field(default_factory=list)

    def add(self, target: str, measured: float, *, at_most: float = float("inf"), at_least: float = 0.0) -> None:
        bound = f"at most {at_most:g}" if at_most < float("inf") else f"at least {at_least:g}"
        held = "held" if at_least <= measured <= at_most else "MISSED"
        self.lines.append(f"{held:>6}  {target}: {measured:.2f}, {bound}")

    def add_estimate(self, target: str, measured: Estimate, *, at_most: float) -> None:
        held = "held" if measured.high <= at_most else "MISSED" if measured.low > at_most else "tie"
        self.lines.append(f"{held:>6}  {target}: {measured}, at most {at_most:g}")


@dataclass(frozen=True)
class Bench:
    """Where a run takes place."""

    folder: Path
    names: tuple[str, ...]
    rounds: int
    seconds: float
    verdicts: Verdicts = field(default_factory=Verdicts)
    is_urgent: bool = False
    """Servers and dnsperf have real-time priority, where that is allowed."""

    @property
    def cores(self) -> tuple[int, int]:
        """The server's and dnsperf's."""
        allowed = sorted(os.sched_getaffinity(0))
        return allowed[0], allowed[-1]

    def placed(self, core: int) -> Callable[[], None]:
        """What a child does before anything else: take its core and its priority."""

        def place() -> None:
            os.sched_setaffinity(0, [core])
            if self.is_urgent:
                with suppress(PermissionError):
                    os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))

        return place


@dataclass(frozen=True)
class Server:
    """One that answers by now."""

    pid: int
    port: int


@contextmanager
def running(bench: Bench, name: str) -> Iterator[Server]:
    core, port = bench.cores[0], FIRST_PORT + list(SERVERS).index(name)
    process = subprocess.Popen(
        SERVERS[name](bench.folder, port),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        preexec_fn=bench.placed(core),
    )
    try:
        _wait_until_it_answers(process, port)
        yield Server(process.pid, port)
    finally:
        process.terminate()
        process.wait()


def _wait_until_it_answers(process: subprocess.Popen[bytes], port: int) -> None:
    import dnslib

    query = dnslib.DNSRecord.question(f"web-1.default.{SVC}")
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        with suppress(OSError):
            if dnslib.DNSRecord.parse(query.send(HOST, port, timeout=0.2)).rr:
                return
        time.sleep(0.05)
    raise RuntimeError(f"{process.args} does not answer")


def measure(bench: Bench, server: Server, load: Path) -> Run:
    """One moment, as fast as it goes. All questions have been asked once before."""
    pid = server.pid
    before, waited_before = _cpu_seconds(pid), _waited_seconds(pid)
    output = ask(bench, server, load, "-l", str(bench.seconds))
    cpu_seconds, waited_seconds = _cpu_seconds(pid) - before, _waited_seconds(pid) - waited_before
    completed = int(_figure(r"Queries completed:\s+(\d+)", output))
    return Run(
        cpu_microseconds=cpu_seconds * 1e6 / max(completed, 1),
        queries_per_second=_figure(r"Queries per second:\s+([\d.]+)", output),
        lost=int(_figure(r"Queries lost:\s+(\d+)", output)),
        waited=waited_seconds / max(waited_seconds + cpu_seconds, 1e-9),
    )


def ask(bench: Bench, server: Server, load: Path, *options: str) -> str:
    """What dnsperf says."""
    command = ["dnsperf", "-s", HOST, "-p", str(server.port), "-d", str(load), "-c", "8", "-q", "100", *options]
    return subprocess.run(
        command, capture_output=True, text=True, check=True, preexec_fn=bench.placed(bench.cores[1])
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
    # Linux' clock of another process; `cpu_times` counts in hundredths of a second, a tenth of what a moment takes.
    return sum(time.clock_gettime(~each.pid << 3 | _CPUCLOCK_SCHED) for each in _family(pid))


def _waited_seconds(pid: int) -> float:
    """Time in which a thread could run and had to wait for a core."""
    tasks = (task for each in _family(pid) for task in Path(f"/proc/{each.pid}/task").iterdir())
    nanoseconds = 0
    for task in tasks:
        with suppress(OSError):
            nanoseconds += int((task / "schedstat").read_text().split()[1])
    return nanoseconds / 1e9


@contextmanager
def all_running(bench: Bench, names: Sequence[str], load: str) -> Iterator[tuple[Path, dict[str, Server]]]:
    """These servers, which have been asked every question of this load, and the file that it is in."""
    asked = bench.folder / load
    asked.write_text(questions(load))
    with ExitStack() as stack:
        servers = {name: stack.enter_context(running(bench, name)) for name in names}
        for server in servers.values():
            ask(bench, server, asked, "-n", "1")
        yield asked, servers


def compare_cpu(bench: Bench, load: str) -> None:
    runs: dict[str, list[Run]] = {name: [] for name in bench.names}
    with all_running(bench, bench.names, load) as (asked, servers):
        for _ in range(bench.rounds):
            for name, server in servers.items():
                runs[name].append(measure(bench, server, asked))
    print(
        f"\n{load}: {bench.rounds} rounds of {bench.seconds:g} s, {os.cpu_count()} cores, medians of the quiet rounds"
    )
    titles = ("", "CPU us/query", "of Knot", "quiet", "all rounds", "queries/s", "lost")
    print("  ".join(f"{title:>{width}}" for title, width in zip(titles, (16, 12, 8, 5, 11, 9, 5), strict=True)))
    for name, made in runs.items():
        pairs = list(zip(made, runs["knot"], strict=True))
        quiet = [pair for pair in pairs if pair[0].is_quiet and pair[1].is_quiet]
        ratios, kept = _ratios(pairs), [run for run, _ in quiet or pairs]
        of_knot = median(_ratios(quiet) or ratios)
        print(
            f"{name:>16}  {median(run.cpu_microseconds for run in kept):>12.2f}"
            f"  {of_knot:>8.2f}  {len(quiet):>5}  {min(ratios):>5.2f}-{max(ratios):<5.2f}"
            f"  {median(run.queries_per_second for run in kept):>9.0f}  {sum(run.lost for run in made):>5}"
        )
        if bound := MAX_CPU_OF_KNOT.get(name):
            bench.verdicts.add(f"{load}: CPU per query of {name}, of Knot's", of_knot, at_most=bound)
        if bound and "dnslib" in runs:
            times = median(_ratios(list(zip(runs["dnslib"], made, strict=True))))
            bench.verdicts.add(f"{load}: dnslib's CPU per query, of {name}'s", times, at_least=MIN_TIMES_DNSLIB)


def compare_latency(bench: Bench, load: str, *, rounds: int, latencies_of: Latencies) -> None:
    # dnslib's own server answers a quarter of that rate.
    names = [name for name in bench.names if name != "dnslib"]
    bench = replace(bench, is_urgent=True)
    chance, made = random.Random(SHUFFLE_SEED), {name: list[Spread]() for name in names}
    for first in range(0, rounds, ROUNDS_OF_A_PROCESS):
        with all_running(bench, names, load) as (asked, servers):
            for turn in range(first, min(first + ROUNDS_OF_A_PROCESS, rounds)):
                order = chance.sample(names, len(names))
                seen = {name: latencies_of(bench, servers[name], asked, turn) for name in order}
                if min(map(len, seen.values())) < LATENCY_QUERIES // 2:
                    continue  # The client had no core for most of somebody's turn.
                for name, latencies in seen.items():
                    made[name].append(Spread.of(latencies))
    kept = len(made["knot"])
    print(f"\n{load}: latency at {LATENCY_RATE} queries per second, us, medians of {kept} rounds of {rounds}")
    if not kept:
        return
    print(f"{'':>16}  {'p50':>7}  {'p90':>7}  {'p99':>7}  {'p99.9':>7}  p99 of Knot's")
    for name, spreads in made.items():
        columns = [median(column) for column in zip(*map(astuple, spreads), strict=True)]
        of_knot = Estimate.of([each.p99 / base.p99 for each, base in zip(spreads, made["knot"], strict=True)])
        print(f"{name:>16}  {'  '.join(f'{column:>7.1f}' for column in columns)}  {of_knot}")
        if name in MAX_CPU_OF_KNOT:
            bench.verdicts.add_estimate(f"{load}: p99 at {LATENCY_RATE}/s of {name}, of Knot's", of_knot, at_most=1.0)


Latencies = Callable[[Bench, Server, Path, int], list[float]]
"""Of one server under one load in the n-th round, in microseconds."""


def latencies_at_pace(bench: Bench, server: Server, load: Path, turn: int) -> list[float]:
    lines = load.read_text().splitlines()
    first = turn * LATENCY_QUERIES
    asked = [_question(lines[number % len(lines)]) for number in range(first, first + LATENCY_QUERIES)]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asker, undisturbed(bench.cores[1]):
        asker.setblocking(False)
        asker.connect((HOST, server.port))
        ask_at_pace(asker, asked[:WARM_UP_QUERIES], rate=LATENCY_RATE)
        return ask_at_pace(asker, asked, rate=LATENCY_RATE)


def latencies_by_dnsperf(bench: Bench, server: Server, load: Path, turn: int) -> list[float]:
    output = ask(bench, server, load, "-l", str(bench.seconds), "-Q", str(LATENCY_RATE), "-v")
    return [float(each) * 1e6 for each in re.findall(r"^> .* ([\d.]+)$", output, re.MULTILINE)]


PACES: dict[str, Latencies] = {"own": latencies_at_pace, "dnsperf": latencies_by_dnsperf}


@cache
def _question(line: str) -> bytes:
    """The packet of a line of a load, as dnsperf writes it, without its id."""
    import dnslib

    name, type_ = line.split()
    return bytes(dnslib.DNSRecord.question(name, type_).pack())[2:]


def compare_memory(bench: Bench, count: int) -> None:
    first, rest = bench.folder / "first-names", bench.folder / "other-names"
    first.write_text("".join(distinct_names(0, count // 10)))
    rest.write_text("".join(distinct_names(count // 10, count - count // 10)))
    print(f"\nresident MiB after {count // 10} distinct names, and after {count}")
    with running(bench, REMEMBERING) as server:
        sizes = []
        for load in (first, rest):
            ask(bench, server, load, "-n", "1")
            sizes.append(psutil.Process(server.pid).memory_info().rss)
    print(f"{REMEMBERING:>16}  {sizes[0] / 2**20:>8.1f}  {sizes[1] / 2**20:>8.1f}")
    bench.verdicts.add(f"memory of {REMEMBERING}, of what it was", sizes[1] / sizes[0], at_most=MAX_GROWTH)


def _ratios(pairs: list[tuple[Run, Run]]) -> list[float]:
    return [run.cpu_microseconds / base.cpu_microseconds for run, base in pairs]


def main() -> None:
    parser = argparse.ArgumentParser(description="CPU, latency and memory of DNS answers, beside Knot, NSD and dnslib.")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--seconds", type=float, default=0.4)
    parser.add_argument(
        "--servers", default=",".join(SERVERS), help="which ones, comma-separated; Knot is always there"
    )
    parser.add_argument("--only", default="cpu,p99,memory", help="which measurements, comma-separated")
    parser.add_argument("--load", choices=("srv", "mix", "both"), default="both")
    parser.add_argument("--latency-rounds", type=int, default=240)
    parser.add_argument("--pace", choices=PACES, default="own", help="who measures latencies")
    parser.add_argument("--names", type=int, default=1_000_000, help="how many distinct names memory is to withstand")
    options = parser.parse_args()
    missing = [program for program in PROGRAMS if shutil.which(program) is None]
    if missing:
        print(f"skipped: {', '.join(missing)} not found; install the packages knot, nsd and dnsperf")
        return
    wanted = {"knot", *options.servers.split(",")}
    with tempfile.TemporaryDirectory(prefix="petset-dns-") as folder:
        names = tuple(name for name in SERVERS if name in wanted)
        bench = Bench(Path(folder), names, rounds=options.rounds, seconds=options.seconds)
        (bench.folder / "zone").write_text(zone_file())
        only = options.only.split(",")
        loads = ("srv", "mix") if options.load == "both" else (options.load,)
        for load in loads if "cpu" in only else ():
            compare_cpu(bench, load)
        for load in loads if "p99" in only else ():
            compare_latency(bench, load, rounds=options.latency_rounds, latencies_of=PACES[options.pace])
        if "memory" in only:
            compare_memory(bench, options.names)
    print("\n" + "\n".join(bench.verdicts.lines))


if __name__ == "__main__":
    main()
