"""What a DNS answer costs: petset's name server beside Knot, NSD and dnslib's own server, in one run.

    servers, pinned to the first core ◀── loopback ──▶ dnsperf, pinned to the last

All servers stand side by side and answer for the same cluster (dns_servers.py); each is asked for a moment, in turn,
`--rounds` times round, after all questions were asked once. Those who are not asked sleep. Ratios compare a server
with Knot within one round: short rounds, and many, see the same neighbours. Medians are of the rounds in which the
server waited for its core less than QUIET of the time, if there are any: a machine with other work makes every server
take packets one by one, which costs each of them differently.

    cpu      CPU time per answered query (user and system, all threads of the server), as fast as it goes: the kernel's
             clocks of the processes, in nanoseconds
             srv   _http._tcp.kubia.default.svc.cluster.local, three peers with their addresses
             mix   20,000 questions: A, AAAA and SRV of 1000 services, every fifth for a name that does not exist
    p99      99th percentile of the latency at LATENCY_RATE queries per second; servers and dnsperf go before all else
             on the machine, where that is allowed (root): otherwise the neighbours' time slices are measured
    memory   resident memory after a tenth of `--names` distinct questions, and after all of them

Each target is printed with what was measured, and whether it held. Needs Debian's packages knot, nsd and dnsperf; says
so and ends where they are missing.

    python -m benchmarks.dns [--rounds 15] [--seconds 0.4] [--only cpu,p99,memory] [--load srv] [--names 1000000]
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import median, quantiles

import psutil

from benchmarks.dns_servers import HOST, SERVERS, SVC, distinct_names, questions, zone_file

FIRST_PORT = 5390
PROGRAMS = ("knotd", "nsd", "dnsperf")
START_SECONDS = 20.0
QUIET = 0.05
LATENCY_RATE = 20_000
_CPUCLOCK_SCHED = 2
MAX_CPU_OF_KNOT = {"petset": 1.25, "petset-batched": 1.05}
MIN_TIMES_DNSLIB = 40.0
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
    p99_microseconds: float = 0.0

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


def measure(bench: Bench, server: Server, load: Path, *options: str) -> Run:
    """One moment; `options` are dnsperf's. All questions have been asked once before."""
    pid = server.pid
    before, waited_before = _cpu_seconds(pid), _waited_seconds(pid)
    output = ask(bench, server, load, "-l", str(bench.seconds), *options)
    cpu_seconds, waited_seconds = _cpu_seconds(pid) - before, _waited_seconds(pid) - waited_before
    completed = int(_figure(r"Queries completed:\s+(\d+)", output))
    latencies = [float(each) for each in re.findall(r"^> .* ([\d.]+)$", output, re.MULTILINE)]
    return Run(
        cpu_microseconds=cpu_seconds * 1e6 / max(completed, 1),
        queries_per_second=_figure(r"Queries per second:\s+([\d.]+)", output),
        lost=int(_figure(r"Queries lost:\s+(\d+)", output)),
        waited=waited_seconds / max(waited_seconds + cpu_seconds, 1e-9),
        p99_microseconds=quantiles(latencies, n=100)[-1] * 1e6 if len(latencies) > 1 else 0.0,
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


def rounds_of(bench: Bench, names: Sequence[str], load: str, *options: str) -> dict[str, list[Run]]:
    """Every server in turn, round after round."""
    asked = bench.folder / load
    asked.write_text(questions(load))
    runs: dict[str, list[Run]] = {name: [] for name in names}
    with ExitStack() as stack:
        servers = {name: stack.enter_context(running(bench, name)) for name in names}
        for server in servers.values():
            ask(bench, server, asked, "-n", "1")
        for _ in range(bench.rounds):
            for name, server in servers.items():
                runs[name].append(measure(bench, server, asked, *options))
    return runs


def compare_cpu(bench: Bench, load: str) -> None:
    runs = rounds_of(bench, bench.names, load)
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


def compare_latency(bench: Bench) -> None:
    # dnslib's own server answers a quarter of that rate.
    names = [name for name in bench.names if name != "dnslib"]
    runs = rounds_of(replace(bench, is_urgent=True), names, "srv", "-Q", str(LATENCY_RATE), "-v")
    print(f"\np99 at {LATENCY_RATE} SRV queries per second, us: median of the rounds, and the best")
    for name, made in runs.items():
        found = [run.p99_microseconds for run in made]
        print(f"{name:>16}  {median(found):>8.0f}  {min(found):>8.0f}")
    for name in MAX_CPU_OF_KNOT.keys() & runs.keys():
        ratio = median(
            run.p99_microseconds / base.p99_microseconds for run, base in zip(runs[name], runs["knot"], strict=True)
        )
        bench.verdicts.add(f"p99 at {LATENCY_RATE}/s of {name}, of Knot's", ratio, at_most=1.0)


def compare_memory(bench: Bench, count: int) -> None:
    first, rest = bench.folder / "first-names", bench.folder / "other-names"
    first.write_text("".join(distinct_names(0, count // 10)))
    rest.write_text("".join(distinct_names(count // 10, count - count // 10)))
    print(f"\nresident MiB after {count // 10} distinct names, and after {count}")
    for name in MAX_CPU_OF_KNOT.keys() & set(bench.names):
        with running(bench, name) as server:
            sizes = []
            for load in (first, rest):
                ask(bench, server, load, "-n", "1")
                sizes.append(psutil.Process(server.pid).memory_info().rss)
        print(f"{name:>16}  {sizes[0] / 2**20:>8.1f}  {sizes[1] / 2**20:>8.1f}")
        bench.verdicts.add(f"memory of {name}, of what it was", sizes[1] / sizes[0], at_most=MAX_GROWTH)


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
        for load in ("srv", "mix") if options.load == "both" else (options.load,):
            if "cpu" in only:
                compare_cpu(bench, load)
        if "p99" in only:
            compare_latency(bench)
        if "memory" in only:
            compare_memory(bench, options.names)
    print("\n" + "\n".join(bench.verdicts.lines))


if __name__ == "__main__":
    main()
