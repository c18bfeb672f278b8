"""The `petset` command: clusters come up, are listed, and go down.

    lifecycle.py   up, down, ls, kubeconfig        a family of commands per file, collected here
    chaos.py       chaos inject, heal, ls, faults
    chaos_run.py   chaos run, experiments
    image.py       image add, ls, rm

Commands speak HTTP to a running cluster and signal its supervisor; they never load Ray or the cluster's components.
A mistake of the user ends a command with one line that says what to do, and exit status 1 (2 for wrong usage).
"""

from __future__ import annotations

import sys

import click

import petset
from petset.cluster.cli import chaos, chaos_run, image, lifecycle
from petset.cluster.cli.errors import one_line_errors, sigterm_like_ctrl_c


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(petset.__version__, prog_name="petset")
def main() -> None:
    """A Kubernetes cluster small enough to take apart."""


@click.command()
@click.option("--nodes", type=click.IntRange(1, 20), default=3, show_default=True, help="How many nodes it has.")
def demo(nodes: int) -> None:
    """Play the kubia walk-through on a throw-away cluster."""
    from rich.console import Console

    from petset.cluster.cli.demo import play_demo
    from petset.cluster.cli.walkthrough import StepFailed

    with one_line_errors(), sigterm_like_ctrl_c():
        try:
            play_demo(Console(), node_count=nodes)
        except StepFailed as error:
            raise click.ClickException(f"this did not hold: {error}") from error


@click.command()
def doctor() -> None:
    """Say what this machine allows, and why not."""
    from petset.cluster.cli.doctor import examine

    sys.exit(examine())


@click.command()
def version() -> None:
    """Print the version."""
    click.echo(f"petset {petset.__version__}")


for _command in (
    lifecycle.up,
    lifecycle.down,
    lifecycle.list_clusters,
    lifecycle.kubeconfig,
    chaos.chaos,
    image.image,
    demo,
    doctor,
    version,
):
    main.add_command(_command)
for _command in (chaos_run.run_experiments, chaos_run.experiments):
    chaos.chaos.add_command(_command)
