"""Catalogue files on their way into a cluster: checked as a whole, then kept with it (node/added_images.py)."""

from __future__ import annotations

from pathlib import Path

from petset.cluster import lock
from petset.cluster.cli.launch import cluster_environment
from petset.cluster.settings import ClusterFolder


def take_images(folder: ClusterFolder, files: tuple[Path, ...]) -> list[str]:
    """Add the entries of these files to a cluster's own and answer their names. Raises SettingsError."""
    from petset.cluster.node.added_images import AddedImages

    return [program.name for program in AddedImages(folder.images).add(files, cluster_environment())]


def take_images_for_start(folder: ClusterFolder, files: tuple[Path, ...]) -> None:
    """The same for a cluster that is about to start; what it has already is checked too. Raises SettingsError.

    A cluster that runs is left alone: its start is about to fail.
    """
    if not files and not folder.images.exists():
        return
    if lock.holder(folder.lock) is not None:
        return
    if files:
        take_images(folder, files)
    else:
        from petset.cluster.node.added_images import AddedImages

        AddedImages(folder.images).programs()
