"""Tests that need a network of namespaces run inside an enclosure whose fabric is built:

    python -m tests.inside [--unprivileged] [pytest's arguments]

`--unprivileged`: as a user without privileges (unprivileged.py).
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from petset.cluster.network import syscalls
from petset.cluster.network.addresses import OWN_PLAN
from petset.cluster.network.enclosure import Enclosure
from petset.cluster.network.namespaces import NamespacesNetwork
from tests import unprivileged

NODE_COUNT = 3
FABRIC = "PETSET_TESTFABRIC"

needs_namespaces = pytest.mark.skipif(FABRIC not in os.environ, reason="for python -m tests.inside")


def own_network(node_number: int) -> NamespacesNetwork:
    """The network of a node of the fabric that this process lives in."""
    return NamespacesNetwork(OWN_PLAN, node_number, Path(os.environ[FABRIC]))


@contextmanager
def built_fabric() -> Iterator[Path]:
    """A folder of one's own, with the fabric that `own_network` is of. Needs an enclosure."""
    from petset.cluster.network.fabric import build_fabric

    with tempfile.TemporaryDirectory() as folder:
        fabric = Path(folder) / "fabric"
        build_fabric(OWN_PLAN, fabric, node_count=NODE_COUNT)
        os.environ.update({FABRIC: str(fabric), "HOME": folder})
        try:
            yield Path(folder)
        finally:
            syscalls.unmount_tree(str(fabric))


def _run(arguments: list[str]) -> int:
    with built_fabric() as folder:
        return int(pytest.main(["-p", "no:cacheprovider", f"--basetemp={folder}/tests", *arguments]))


def main(arguments: list[str]) -> int:
    if "--unprivileged" in arguments:
        arguments.remove("--unprivileged")
        unprivileged.main([sys.executable, "-m", "tests.inside", *arguments])
    return Enclosure.open(lambda: _run(arguments)).wait()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
