"""`petset demo`: a throw-away cluster, the kubia walk-through with live progress, a table of what held.

The cluster lives in a temporary $PETSET_HOME on a free port, so it cannot meet any other; it is torn down and removed
whether or not every step held. A cluster that did not come up leaves its folder: the message names the logs in it.
"""

from __future__ import annotations

import asyncio
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
from rich.console import Console
from rich.table import Table

from petset.cluster import pki
from petset.cluster.assemble.client import http_client
from petset.cluster.cli.bring_up import UpOptions, running_cluster
from petset.cluster.cli.launch import LaunchFailed
from petset.cluster.cli.walkthrough import Step, StepFailed, Walkthrough, perform
from petset.cluster.settings import ClusterSettings

NAME = "demo"


@dataclass(frozen=True)
class Shown:
    """One line of the final table."""

    title: str
    seconds: float
    seen: str


def play_demo(console: Console, *, node_count: int) -> None:
    """Bring a cluster up, play every step, tear it down. Raises StepFailed, LaunchFailed or SettingsError."""
    shown: list[Shown] = []
    with _throw_away_home() as home, ExitStack() as stack:
        begun = time.monotonic()
        with console.status("bringing a throw-away cluster up") as status:
            options = UpOptions({"node_count": node_count, "port": 0})
            cluster = running_cluster(home, NAME, options, lambda text: status.update(f"starting: {text}"))
            running = stack.enter_context(cluster)
        settings = running.settings
        nodes = f"{node_count} nodes Ready, API on {settings.server}"
        _show(console, shown, Shown("a cluster comes up", time.monotonic() - begun, nodes))
        asyncio.run(_play(console, settings, shown))
        begun = time.monotonic()
        processes = _family(running.launch.process.pid)
        with console.status("tearing the cluster down"):
            stack.close()
        seen = f"none of {len(processes)} processes is left"
        if left := [process for process in processes if _is_alive(process)]:
            raise StepFailed(f"{len(left)} processes of the cluster are still there: {left}")
        _show(console, shown, Shown("everything is torn down", time.monotonic() - begun, seen))
    console.print(_table(shown))


@contextmanager
def _throw_away_home() -> Iterator[Path]:
    home = Path(tempfile.mkdtemp(prefix="petset-demo-"))
    keeps_logs = False
    try:
        yield home
    except LaunchFailed:
        keeps_logs = True
        raise
    finally:
        if not keeps_logs:
            shutil.rmtree(home)


async def _play(console: Console, settings: ClusterSettings, shown: list[Shown]) -> None:
    async with http_client(settings, pki.ADMIN) as client:
        for step in Walkthrough(client).steps():
            with console.status(f"{step.title}\n  [dim]$ {step.command}[/dim]"):
                _show(console, shown, await _timed(step))
            console.print(f"  [dim]$ {step.command}[/dim]", highlight=False)


async def _timed(step: Step) -> Shown:
    begun = time.monotonic()
    try:
        seen = await perform(step)
    except StepFailed as error:
        raise StepFailed(f"{step.title}: {error}") from error
    return Shown(step.title, time.monotonic() - begun, seen)


def _family(process_id: int) -> list[psutil.Process]:
    """The cluster's supervisor and everything that descends from it: Ray, the actors, the pods."""
    supervisor = psutil.Process(process_id)
    return [supervisor, *supervisor.children(recursive=True)]


def _is_alive(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _show(console: Console, shown: list[Shown], one: Shown) -> None:
    shown.append(one)
    console.print(f"[green]✔[/green] {one.title} [dim]({one.seconds:.1f} s)[/dim]: {one.seen}", highlight=False)


def _table(shown: list[Shown]) -> Table:
    table = Table("WHAT HELD", "SECONDS", "SEEN", box=None, pad_edge=False)
    for one in shown:
        table.add_row(one.title, f"{one.seconds:.1f}", one.seen)
    table.add_row("in all", f"{sum(one.seconds for one in shown):.1f}", "")
    return table
