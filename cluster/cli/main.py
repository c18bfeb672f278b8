"""The `petset` command: clusters come up, are listed, and go down.

Commands speak HTTP to a running cluster and signal its supervisor; they never load Ray or the cluster's components.
A mistake of the user ends a command with one line that says what to do, and exit status 1 (2 for wrong usage).
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

import click

import petset
from petset.cluster.cli.bring_up import Running, UpOptions, running_cluster
from petset.cluster.cli.clusters import ClusterError, all_clusters, existing_cluster, overview, purge, stop
from petset.cluster.cli.launch import ClusterStopped, LaunchFailed
from petset.cluster.settings import NETWORKS, SettingsError, petset_home

DEFAULT_NAME = "petset"

_name_argument = click.argument("name", default=DEFAULT_NAME)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(petset.__version__, prog_name="petset")
def main() -> None:
    """A Kubernetes cluster small enough to take apart."""


@main.command()
@_name_argument
@click.option("--nodes", type=int, help="How many nodes it has (3, or as many as before).")
@click.option("--port", type=int, help="The API server's port (6443, or the one it had before; 0: any free one).")
@click.option("--detach", "-d", is_flag=True, help="Return when every node is Ready; the cluster stays up.")
@click.option("--ray-address", help="Join this Ray instead of starting a private one ('': a private one again).")
@click.option(
    "--network",
    type=click.Choice(["auto", *NETWORKS]),
    help="How nodes and pods are connected; `petset doctor` says what this machine allows.",
)
def up(
    name: str, nodes: int | None, port: int | None, detach: bool, ray_address: str | None, network: str | None
) -> None:
    """Bring a cluster up, and keep it up until Ctrl-C."""
    options = UpOptions(nodes, port, ray_address, network)
    started = time.monotonic()
    with _one_line_errors(), _sigterm_like_ctrl_c():
        try:
            with running_cluster(petset_home(os.environ), name, options, _progress) as cluster:
                _announce(cluster, time.monotonic() - started)
                if detach:
                    cluster.launch.detach()
                else:
                    _stay(cluster)
        except ClusterStopped:
            click.echo(f"cluster {name} was stopped")


@main.command()
@_name_argument
@click.option("--purge", "wants_purge", is_flag=True, help="Also remove its objects, volumes and logs.")
@click.option("--yes", "-y", is_flag=True, help="Do not ask before removing.")
def down(name: str, wants_purge: bool, yes: bool) -> None:
    """Stop a cluster; its objects and volumes stay for the next `up`."""
    with _one_line_errors():
        folder = existing_cluster(petset_home(os.environ), name)
        if wants_purge and not yes:
            click.confirm(f"Remove cluster {name} with all its objects and volumes?", abort=True)
        was_running = stop(folder, note=_progress)
        if wants_purge:
            purge(folder)
            click.echo(f"cluster {name} removed")
        elif was_running:
            click.echo(f"cluster {name} stopped; `petset up {name}` continues it")
        else:
            raise ClusterError(f"cluster {name} is not running; `petset down {name} --purge` removes what it keeps")


@main.command("ls")
def list_clusters() -> None:
    """List the clusters."""
    from rich.console import Console
    from rich.table import Table

    table = Table("NAME", "STATUS", "NODES", "PORT", "VERSION", "AGE", box=None, pad_edge=False)
    for folder in all_clusters(petset_home(os.environ)):
        try:
            found = overview(folder, time.time())
        except ClusterError as error:
            table.add_row(folder.root.name, "damaged", "", "", "", "")
            click.echo(str(error), err=True)
            continue
        table.add_row(
            found.name, found.status, found.nodes, str(found.port), found.version, short_age(found.age_seconds)
        )
    Console(soft_wrap=True).print(table)


@main.command()
@_name_argument
def kubeconfig(name: str) -> None:
    """Print the path of a cluster's kubeconfig file."""
    with _one_line_errors():
        path = existing_cluster(petset_home(os.environ), name).kubeconfig
        if not path.exists():
            raise ClusterError(f"cluster {name} has never been up; `petset up {name}` makes its kubeconfig")
        click.echo(path)


@main.command()
@click.option("--nodes", type=click.IntRange(1, 20), default=3, show_default=True, help="How many nodes it has.")
def demo(nodes: int) -> None:
    """Play the kubia walk-through on a throw-away cluster."""
    from rich.console import Console

    from petset.cluster.cli.demo import play_demo
    from petset.cluster.cli.walkthrough import StepFailed

    with _one_line_errors(), _sigterm_like_ctrl_c():
        try:
            play_demo(Console(), node_count=nodes)
        except StepFailed as error:
            raise click.ClickException(f"this did not hold: {error}") from error


@main.command()
def doctor() -> None:
    """Say what this machine allows, and why not."""
    from petset.cluster.cli.doctor import examine

    sys.exit(examine())


@main.command()
def version() -> None:
    """Print the version."""
    click.echo(f"petset {petset.__version__}")


def _announce(cluster: Running, seconds: float) -> None:
    from petset.cluster.cli.live import summary

    click.echo(f"{summary(cluster.settings)} ({seconds:.1f} s)")


def _stay(cluster: Running) -> None:
    """Show the cluster until Ctrl-C; the caller stops it then."""
    from rich.console import Console

    from petset.cluster.cli.live import watch_cluster

    try:
        watch_cluster(Console(), cluster.launch, cluster.settings)
    except KeyboardInterrupt:
        click.echo(f"stopping cluster {cluster.settings.name}", err=True)


def _progress(text: str) -> None:
    click.echo(text, err=True)


@contextmanager
def _one_line_errors() -> Iterator[None]:
    """Turn every failure that is not a bug into `Error: …` and exit status 1."""
    try:
        yield
    except (ClusterError, LaunchFailed, SettingsError) as error:
        raise click.ClickException(str(error)) from error
    except KeyboardInterrupt:
        click.echo("interrupted; nothing was left running", err=True)
        sys.exit(128 + signal.SIGINT)


@contextmanager
def _sigterm_like_ctrl_c() -> Iterator[None]:
    before = signal.signal(signal.SIGTERM, _interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _interrupt(_number: int, _frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt


def short_age(seconds: float) -> str:
    """As kubectl shows ages, by the largest unit that fits."""
    for unit, length in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= length:
            return f"{int(seconds // length)}{unit}"
    return f"{max(0, int(seconds))}s"
