"""Clusters on a real, private Ray: two shared by all tests of a session, others where a test ends its own.

    shared                on the driver's network         parts of it may be killed
    shared_in_namespaces  in namespaces, with the dials   faults are healed again; objects live in a Kubernetes
                          of all its users                namespace of the test's own (RealCluster.namespace)

Every cluster more costs eight seconds of processor time.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from petset.cluster.network.kernel import probe
from tests.on_ray.driver import Driver, RealCluster
from tests.on_ray.resolvers import NEGATIVE_TTL_SECONDS, TTL_SECONDS, outside_name_server


@pytest.fixture(scope="session")
def petset(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Driver]:
    """The command; every cluster that is still up at the end is stopped."""
    driver = Driver(tmp_path_factory.mktemp("petset-home"))
    yield driver
    for folder in driver.home.iterdir():
        if driver.is_up(folder.name):
            driver.run("down", folder.name)


@pytest.fixture(scope="session")
def shared(petset: Driver) -> RealCluster:
    """A cluster of two nodes that the whole session uses; its parts may be killed, it must not be stopped."""
    petset.succeed("up", "shared", "--detach", "--nodes", "2", "--port", "0")
    return petset.cluster("shared")


@pytest.fixture(scope="session")
def shared_in_namespaces(petset: Driver, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealCluster]:
    """Two nodes in namespaces: a program for the image example.com/own, DNS with a server behind it and odd TTLs."""
    if refusal := probe(only_needed=True).refusal:
        pytest.skip(f"no namespaces: {refusal}")
    own = tmp_path_factory.mktemp("catalogue") / "own.yaml"
    own.write_text("images: [{name: own, match: example.com/own, command: [sh, -c, 'echo own; exec sleep 1000']}]")
    with outside_name_server() as port:
        dials = [f"--dns-ttl={TTL_SECONDS}", f"--dns-negative-ttl={NEGATIVE_TTL_SECONDS}", "--dns-loop=portable"]
        dials += [f"--dns-upstream=127.0.0.1:{port}", f"--images={own}"]
        driver = replace(petset, network="namespaces")
        driver.succeed("up", "isolated", "--detach", "--nodes=2", "--port=0", *dials)
        yield driver.cluster("isolated")
