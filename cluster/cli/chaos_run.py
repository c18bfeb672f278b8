"""`petset chaos run` and `experiments`: experiments on a running cluster, judged by the oracles.

    petset chaos experiments                            what is shipped
    petset chaos run pod-kill --seed 7                  exit status 0: every promise held
    petset chaos run mine.yaml other.yaml --duration 60 --report out/
    petset chaos run --all --duration 8                 the library, in a short form

Progress is shown while it runs. Each run leaves report.json and report.html in a folder of its own, under the cluster's
folder or under --report. Exit status 1: an oracle was violated; 2: something could not be run. Ctrl-C heals everything,
removes the workload and leaves no report.
"""

from __future__ import annotations

import asyncio
import os
import shlex
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from random import SystemRandom
from typing import TYPE_CHECKING, NoReturn

import click

from petset.cluster import lock
from petset.cluster.cli.chaos import cluster_option
from petset.cluster.cli.clusters import ClusterError, existing_cluster, read_settings
from petset.cluster.cli.errors import sigterm_like_ctrl_c
from petset.cluster.settings import ClusterSettings, petset_home

if TYPE_CHECKING:
    from rich.console import Console

    from petset.cluster.chaos.run import Outcome, Plan, Run

HELD, SKIPPED, VIOLATED, NOT_RUN = "held", "skipped", "violated", "not run"
EXIT_STATUS = {HELD: 0, SKIPPED: 0, VIOLATED: 1, NOT_RUN: 2}
MAX_SEED = 1_000_000


@dataclass(frozen=True)
class Wanted:
    """How to run: None leaves the duration to the experiment."""

    seed: int
    duration_seconds: float | None
    report: Path


@click.command()
def experiments() -> None:
    """List the shipped experiments."""
    from petset.cluster.chaos.experiments import library_names, load_experiment

    for name in library_names():
        experiment, _ = load_experiment(name)
        click.echo(f"{name:20}{experiment.duration_seconds:4.0f} s  {experiment.describes}")


def _duration(_context: click.Context, _parameter: click.Parameter, seconds: float | None) -> float | None:
    from petset.cluster.chaos.experiment import MAX_DURATION_SECONDS

    if seconds is None or 0.1 <= seconds <= MAX_DURATION_SECONDS:
        return seconds
    raise click.BadParameter(f"{seconds} is not in the range 0.1<=x<={MAX_DURATION_SECONDS:g}.")  # nor is nan


@click.command("run")
@click.argument("names", nargs=-1, metavar="[FILE|NAME]...")
@click.option("--all", "-a", "wants_all", is_flag=True, help="Every experiment of the library.")
@click.option("--seed", type=click.IntRange(0, 2**63 - 1), help="What chance follows; the same seed, the same faults.")
@click.option("--duration", "duration_seconds", type=float, callback=_duration, help="Seconds of faults (the file's).")
@click.option("--report", "folder", type=click.Path(file_okay=False, path_type=Path), help="Where reports go.")
@cluster_option
def run_experiments(
    names: tuple[str, ...],
    wants_all: bool,
    seed: int | None,
    duration_seconds: float | None,
    folder: Path | None,
    name: str,
) -> None:
    """Run experiments, one after the other, and judge what was seen."""
    from rich.console import Console

    from petset.cluster.chaos.experiments import library_names

    if bool(names) == wants_all:
        raise click.UsageError("give either experiments or --all")
    console = Console(soft_wrap=True)
    chosen = SystemRandom().randrange(MAX_SEED) if seed is None else seed
    results = []
    with sigterm_like_ctrl_c():
        try:
            settings = read_settings(existing_cluster(petset_home(os.environ), name))
            with _alone(settings):
                for each in names or library_names():
                    report = (folder or settings.folder.root / "chaos") / f"{Path(each).stem}-{chosen}"
                    results.append(_run(console, settings, each, Wanted(chosen, duration_seconds, report)))
        except ClusterError as error:
            click.echo(f"Error: {error}", err=True)
            results.append(NOT_RUN)
        except KeyboardInterrupt:
            _say_interrupted([])
    if len(results) > 1:
        counts = (f"{results.count(word)} {word}" for word in EXIT_STATUS if word in results)
        console.print(f"{len(results)} experiments: {', '.join(counts)}", highlight=False)
    sys.exit(max(EXIT_STATUS[result] for result in results))


@contextmanager
def _alone(settings: ClusterSettings) -> Iterator[None]:
    """One experiment at a time: another one's faults would be judged with ours. Raises ClusterError."""
    descriptor = lock.acquire(settings.folder.root / "chaos.lock")
    if descriptor is None:
        raise ClusterError(f"another experiment runs on cluster {settings.name}")
    try:
        yield
    finally:
        os.close(descriptor)


def _run(console: Console, settings: ClusterSettings, name: str, wanted: Wanted) -> str:
    """Run one experiment and tell how it went; a key of EXIT_STATUS."""
    from rich.text import Text

    from petset.cluster.chaos.experiment import ExperimentError
    from petset.cluster.chaos.run import CannotRun, Skipped

    runs: list[Run] = []
    try:
        plan = _plan(settings, name, wanted)
        what = f"{plan.experiment.name}: {plan.experiment.describes} (seed {plan.seed}, {plan.duration_seconds:g} s)"
        console.print(what, highlight=False, markup=False)
        outcome = asyncio.run(_perform(console, settings, plan, runs))
    except Skipped as reason:
        console.print(Text.assemble(("skipped", "yellow"), f" {name}: {reason}"))
        return SKIPPED
    except (ExperimentError, CannotRun) as error:
        where = "" if isinstance(error, ExperimentError) else f"{name}: "  # the former names its file itself
        click.echo(f"Error: {where}{error}", err=True)
        return NOT_RUN
    except KeyboardInterrupt:
        _say_interrupted([line for run in runs for line in run.remains])
    replay = replay_command(name, settings, plan)
    return _tell(console, outcome, wanted.report, cluster=settings.name, replay=replay)


def _plan(settings: ClusterSettings, name: str, wanted: Wanted) -> Plan:
    from petset.cluster.chaos.experiments import load_experiment
    from petset.cluster.chaos.run import Plan
    from petset.cluster.names import system_names

    experiment, objects = load_experiment(name)
    return Plan(
        experiment,
        objects,
        seed=wanted.seed,
        duration_seconds=wanted.duration_seconds or experiment.duration_seconds,
        network=settings.network,
        namespace=f"chaos-{system_names().suffix()}",
        time_scale=settings.time_scale,
    )


def replay_command(name: str, settings: ClusterSettings, plan: Plan) -> str:
    """The command that does the same again, for a shell."""
    options = f"--seed {plan.seed} --duration {plan.duration_seconds:.12g} --cluster {shlex.quote(settings.name)}"
    return f"petset chaos run {shlex.quote(name)} {options}"


def _say_interrupted(remains: list[str]) -> NoReturn:
    """Whatever was begun is taken back by now, but for what `remains`."""
    told = "; ".join(remains) or "every fault was healed and the workload removed"
    click.echo(f"interrupted; {told}", err=True)
    sys.exit(128 + signal.SIGINT)


async def _perform(console: Console, settings: ClusterSettings, plan: Plan, runs: list[Run]) -> Outcome:
    """Run it with live progress; the run is in `runs` from its beginning on."""
    from petset.cluster import pki
    from petset.cluster.assemble.client import http_client
    from petset.cluster.chaos.experiment import ExperimentError
    from petset.cluster.chaos.gate import GateClient
    from petset.cluster.chaos.run import CannotRun, Run, Skipped
    from petset.cluster.cli.chaos_view import shown_live
    from petset.cluster.clock import SystemClock

    try:
        made = http_client(settings, pki.ADMIN)
    except (OSError, KeyError) as error:
        raise CannotRun(f"cluster {settings.name} has no credentials: {error}") from error
    async with made as client, GateClient(settings) as gate:
        run = Run(plan, client, gate, SystemClock())
        runs.append(run)
        try:
            async with shown_live(console, run):
                return await run.perform()
        except (CannotRun, ExperimentError, Skipped):
            for line in run.remains:
                click.echo(line, err=True)
            raise


def _tell(console: Console, outcome: Outcome, folder: Path, *, cluster: str, replay: str) -> str:
    """Show what came of it and write the reports; a key of EXIT_STATUS."""
    from petset.cluster.chaos.report import write_report
    from petset.cluster.cli.chaos_view import summary

    console.print(summary(outcome), highlight=False)
    try:
        document, page = write_report(outcome, folder, cluster=cluster, replay=replay)
    except OSError as error:
        click.echo(f"Error: no report: {error}", err=True)
        return NOT_RUN
    console.print(f"reports: {document} {page}", highlight=False, markup=False)
    console.print(f"again:   {replay}", highlight=False, markup=False)
    return HELD if outcome.held else VIOLATED
