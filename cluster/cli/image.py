"""`petset image`: which programs the images of a cluster stand for, also while it runs (docs/images.md).

    add FILE    the entries of a catalogue file, all of them or none; every machine knows them at once
    ls          pattern ─▶ program, where the entry comes from, and whether this machine has the program
    rm NAME     forget an entry that was added

Containers that run are left alone: an image is looked up when a container starts.
"""

from __future__ import annotations

import os
from pathlib import Path

import click

from petset.cluster.cli.catalogue import take_images
from petset.cluster.cli.chaos import cluster_option
from petset.cluster.cli.clusters import ClusterError, existing_cluster
from petset.cluster.cli.errors import one_line_errors
from petset.cluster.settings import petset_home

TABLE_WIDTH = 400
"""So that no line is broken: they are cut by whoever shows them."""


@click.group()
def image() -> None:
    """Say which programs images stand for."""


@image.command("add")
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="FILE...")
@cluster_option
def add_images(files: tuple[Path, ...], name: str) -> None:
    """Add the entries of catalogue files; one of a name that was added before replaces it."""
    with one_line_errors():
        folder = existing_cluster(petset_home(os.environ), name)
        for image_name in take_images(folder, files):
            click.echo(f"image {image_name} added to cluster {name}")


@image.command("ls")
@cluster_option
def list_images(name: str) -> None:
    """List patterns, the programs that they stand for, and what this machine lacks."""
    from rich.console import Console
    from rich.table import Table

    from petset.cluster.node.added_images import AddedImages
    from petset.cluster.node.catalogue_files import shipped_programs

    with one_line_errors():
        folder = existing_cluster(petset_home(os.environ), name)
        sources = {"added": AddedImages(folder.images).programs(), "shipped": shipped_programs()}
    table = Table(box=None, pad_edge=False)
    for heading in ("NAME", "IMAGES", "PROGRAM", "SOURCE", "HERE"):
        table.add_column(heading, no_wrap=True)
    for source, programs in sources.items():
        for each in programs:
            program = each.python or each.command[0]
            hint = f" (apt-get install {each.package})" if each.package else ""
            here = f"no: {each.missing}{hint}" if each.missing else "yes"
            table.add_row(each.name, " ".join(each.match), program, source, here)
    Console(width=TABLE_WIDTH, markup=False).print(table)


@image.command("rm")
@click.argument("image_name", metavar="NAME")
@cluster_option
def remove_image(image_name: str, name: str) -> None:
    """Forget an entry that was added; a shipped one of the same images counts again."""
    from petset.cluster.node.added_images import AddedImages

    with one_line_errors():
        folder = existing_cluster(petset_home(os.environ), name)
        added = AddedImages(folder.images)
        if not added.remove(image_name):
            known = ", ".join(each.name for each in added.programs()) or "none"
            raise ClusterError(f"no image {image_name} was added to cluster {name}; added are: {known}")
        click.echo(f"image {image_name} removed from cluster {name}")
