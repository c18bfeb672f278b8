"""`petset chaos inject`, `heal`, `ls` and `faults`: faults on a running cluster, from the command line.

    petset chaos inject freeze-pod pod=kubia-1 for_seconds=20
    petset chaos inject cut from=node/node-1 to=everything
    petset chaos inject -f faults.yaml                one fault, or a list, or several documents
    petset chaos ls
    petset chaos heal f2        petset chaos heal --all

They speak to the cluster's fault gate (cluster/chaos/gate.py), which needs no API server. Faults act until they are
healed, `for_seconds` is over, or the cluster stops; the command does not wait for that.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Callable, Coroutine
from typing import IO, TYPE_CHECKING, Any, TypeVar

import click

from petset.cluster.cli.clusters import ClusterError, existing_cluster, read_settings
from petset.cluster.cli.errors import one_line_errors
from petset.cluster.cli.lifecycle import DEFAULT_NAME
from petset.cluster.settings import petset_home

if TYPE_CHECKING:
    from petset.cluster.chaos.faults import Fault
    from petset.cluster.chaos.gate import GateClient

_Answer = TypeVar("_Answer")
_ROW = "{:6}{:8}{:29}{}"

cluster_option = click.option("--cluster", "-c", "name", default=DEFAULT_NAME, show_default=True, help="Which cluster.")


@click.group()
def chaos() -> None:
    """Break a running cluster on purpose, and heal it."""


@chaos.command()
@click.argument("kind", required=False)
@click.argument("fields", nargs=-1, metavar="[FIELD=VALUE]...")
@click.option("--file", "-f", "file", type=click.File(), help="Faults as YAML or JSON ('-': standard input).")
@cluster_option
def inject(kind: str | None, fields: tuple[str, ...], file: IO[str] | None, name: str) -> None:
    """Inject a fault; `petset chaos faults` lists the kinds and their fields."""
    if (kind is None) == (file is None):
        raise click.UsageError("give either a KIND with its fields, or --file")
    faults = _checked(lambda: _given(kind, fields, file))

    async def inject_all(gate: GateClient) -> None:
        for fault in faults:
            entry = await gate.inject(fault)
            click.echo(f"{entry['id']}  {_words(entry['fault'])}" + ("" if entry["state"] == "active" else "  (done)"))

    _at_gate(name, inject_all)


@chaos.command()
@click.argument("fault_id", required=False, metavar="[ID]")
@click.option("--all", "-a", "wants_all", is_flag=True, help="Heal every fault, newest first.")
@cluster_option
def heal(fault_id: str | None, wants_all: bool, name: str) -> None:
    """Heal a fault; one that is healed already stays healed."""
    if bool(fault_id) == wants_all:
        raise click.UsageError("give either a fault's ID (`petset chaos ls`) or --all")

    async def heal_them(gate: GateClient) -> None:
        healed = [await gate.heal(fault_id)] if fault_id else await gate.heal_all()
        for entry in healed:
            click.echo(f"{entry['id']}  {_words(entry['fault'])}  healed")
        if not healed:
            click.echo("nothing to heal")

    _at_gate(name, heal_them)


@chaos.command("ls")
@click.option("--all", "-a", "wants_all", is_flag=True, help="Also those that are over.")
@cluster_option
def list_faults(wants_all: bool, name: str) -> None:
    """List the faults that act now."""

    async def show(gate: GateClient) -> None:
        entries = await gate.faults()
        click.echo(_ROW.format("ID", "STATE", "INJECTED", "FAULT"))
        for entry in entries:
            if wants_all or entry["state"] == "active":
                click.echo(_ROW.format(entry["id"], entry["state"], entry["injected_at"], _words(entry["fault"])))

    _at_gate(name, show)


@chaos.command()
def faults() -> None:
    """List the kinds of faults, with their fields."""
    from petset.cluster.chaos.faults import FAULTS

    for kind in FAULTS.values():
        only = f"  [only on a network of {kind.needs}]" if kind.needs else ""
        click.echo(f"{kind.name:16}{kind.says}{only}\n{'':16}{' '.join(field.usage for field in kind.fields)}")


def _given(kind: str | None, fields: tuple[str, ...], file: IO[str] | None) -> list[Fault]:
    from petset.cluster.chaos.faults import fault_from_words, faults_from_yaml

    if file is not None:
        try:
            return faults_from_yaml(file.read())
        except (OSError, UnicodeDecodeError) as error:
            raise ClusterError(f"cannot read {file.name}: {error}") from error
    return [fault_from_words(kind or "", fields)]


def _checked(make: Callable[[], _Answer]) -> _Answer:
    from petset.cluster.chaos.errors import FaultError

    with one_line_errors():
        try:
            return make()
        except FaultError as error:
            raise ClusterError(str(error)) from error


def _at_gate(name: str, use: Callable[[GateClient], Coroutine[Any, Any, None]]) -> None:
    """Use the gate of a cluster. Ctrl-C leaves what was asked for to the gate, which carries it out."""
    from petset.cluster.chaos.gate import GateClient, GateError

    async def run() -> None:
        async with GateClient(settings) as gate:
            await use(gate)

    with one_line_errors():
        settings = read_settings(existing_cluster(petset_home(os.environ), name))
        try:
            asyncio.run(run())
        except GateError as error:
            raise ClusterError(error.message) from error
        except KeyboardInterrupt:
            click.echo("interrupted; `petset chaos ls` says what acts now", err=True)
            sys.exit(128 + signal.SIGINT)


def _words(fault: dict[str, Any]) -> str:
    fields = (f"{key}={_text(value)}" for key, value in fault.items() if key != "fault")
    return " ".join([str(fault["fault"]), *fields])


def _text(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) else str(value)
