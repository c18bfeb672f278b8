"""`petset up`, `down`, `ls` and `kubeconfig`: a cluster's life, from the command line."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from petset.cluster.cli.bring_up import Running, UpOptions, running_cluster
from petset.cluster.cli.catalogue import take_images_for_start
from petset.cluster.cli.clusters import ClusterError, all_clusters, existing_cluster, overview, purge, stop
from petset.cluster.cli.errors import one_line_errors, sigterm_like_ctrl_c
from petset.cluster.cli.launch import ClusterStopped
from petset.cluster.settings import DNS_LOOPS, NETWORKS, ClusterSettings, petset_home

DEFAULT_NAME = "petset"

name_argument = click.argument("name", default=DEFAULT_NAME)

_SETTINGS = (
    click.option("--nodes", "node_count", type=int, help="How many nodes it has (3)."),
    click.option("--port", type=int, help="The API server's port (6443; 0: any free one)."),
    click.option("--ray-address", help="Join this Ray instead of starting a private one ('': a private one again)."),
    click.option("--ray-nodes", type=int, help="Ray nodes, of which faults may hit all but the first (1)."),
    click.option("--dns-ttl", "dns_ttl_seconds", type=int, help="Seconds that DNS answers may be kept (5)."),
    click.option(
        "--dns-negative-ttl", "dns_negative_ttl_seconds", type=int, help="The same of 'no such name' (as --dns-ttl)."
    ),
    click.option(
        "--dns-cache", "dns_cache_seconds", type=int, help="Seconds that DNS keeps answers that have changed (0)."
    ),
    click.option(
        "--dns-upstream",
        "dns_upstreams",
        help="Who answers for names outside of the cluster: 192.0.2.1,192.0.2.2:5353, or `host` ('': nobody).",
    ),
    click.option(
        "--fence/--no-fence",
        default=None,
        help="Take network disks away from nodes that went silent before others get them (off, as in Kubernetes).",
    ),
    click.option(
        "--time-scale",
        type=float,
        help="How much shorter the long times of nodes and restarts are: grace, tolerations, back-off (1).",
    ),
    click.option(
        "--disk-faults/--no-disk-faults",
        default=None,
        help="Let volumes be troubled (chaos); each write of a program to a file costs more then (off).",
    ),
    click.option(
        "--local-disks",
        help="Provisioners whose volumes stay on one node, as patterns: 'rancher.io/*,*hostpath*' ('': the usual).",
    ),
    click.option(
        "--dns-loop",
        type=click.Choice(DNS_LOOPS),
        help="How DNS takes packets: one by one (portable), in batches, or in batches where they work (auto).",
    ),
)
"""What `up` may change of a cluster's settings: each option is named after its field of ClusterSettings."""


def _settings(command: Callable[..., Any]) -> Callable[..., Any]:
    for option in reversed(_SETTINGS):
        command = option(command)
    return command


@click.command()
@name_argument
@click.option("--detach", "-d", is_flag=True, help="Return when every node is Ready; the cluster stays up.")
@click.option(
    "--network",
    type=click.Choice(["auto", *NETWORKS]),
    help="How nodes and pods are connected; `petset doctor` says what this machine allows.",
)
@click.option(
    "--images",
    multiple=True,
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Add the images of a catalogue file (repeatable; the cluster keeps them).",
)
@_settings
def up(name: str, detach: bool, network: str | None, images: tuple[Path, ...], **changes: object) -> None:
    """Bring a cluster up, and keep it up until Ctrl-C. What is not given stays as it was."""
    options = UpOptions(changes, network)
    started = time.monotonic()
    with one_line_errors(), sigterm_like_ctrl_c():
        take_images_for_start(ClusterSettings(name, str(petset_home(os.environ))).folder, images)
        try:
            with running_cluster(petset_home(os.environ), name, options, _progress) as cluster:
                _stay(cluster, time.monotonic() - started, detach=detach)
        except ClusterStopped:
            click.echo(f"cluster {name} was stopped")


@click.command()
@name_argument
@click.option("--purge", "wants_purge", is_flag=True, help="Also remove its objects, volumes and logs.")
@click.option("--yes", "-y", is_flag=True, help="Do not ask before removing.")
def down(name: str, wants_purge: bool, yes: bool) -> None:
    """Stop a cluster; its objects and volumes stay for the next `up`."""
    with one_line_errors():
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


@click.command("ls")
def list_clusters() -> None:
    """List the clusters."""
    from rich.console import Console
    from rich.table import Table

    table = Table("NAME", "STATUS", "NODES", "PORT", "VERSION", "AGE", box=None, pad_edge=False)
    notes: list[str] = []
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
        if found.time_scale != 1:
            notes.append(f"{found.name}: long times of nodes and restarts are {found.time_scale:g} times shorter")
        notes += [f"{found.name}: {each} holds {', '.join(held)}" for each, held in found.ray_nodes.items()]
    Console(soft_wrap=True).print(table)
    for note in notes:
        click.echo(note)


@click.command()
@name_argument
def kubeconfig(name: str) -> None:
    """Print the path of a cluster's kubeconfig file."""
    with one_line_errors():
        path = existing_cluster(petset_home(os.environ), name).kubeconfig
        if not path.exists():
            raise ClusterError(f"cluster {name} has never been up; `petset up {name}` makes its kubeconfig")
        click.echo(path)


def _stay(cluster: Running, seconds: float, *, detach: bool) -> None:
    """Say that the cluster is up, and show it until Ctrl-C unless it is detached; the caller stops it then.

    From the first word on, Ctrl-C is the ordinary end of a cluster.
    """
    from rich.console import Console

    from petset.cluster.cli.live import summary, watch_cluster

    try:
        click.echo(f"{summary(cluster.settings)} ({seconds:.1f} s)")
        if detach:
            cluster.launch.detach()
        else:
            watch_cluster(Console(), cluster.launch, cluster.settings)
    except KeyboardInterrupt:
        click.echo(f"stopping cluster {cluster.settings.name}", err=True)


def _progress(text: str) -> None:
    click.echo(text, err=True)


def short_age(seconds: float) -> str:
    """As kubectl shows ages, by the largest unit that fits."""
    for unit, length in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= length:
            return f"{int(seconds // length)}{unit}"
    return f"{max(0, int(seconds))}s"
