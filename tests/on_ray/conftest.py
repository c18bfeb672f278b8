"""Clusters on a real, private Ray: one shared by all tests of a session, others where a test ends its own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.on_ray.driver import Driver, RealCluster


@pytest.fixture(scope="session")
def petset(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Driver]:
    """The command; every cluster that is still up at the end is stopped."""
    driver = Driver(tmp_path_factory.mktemp("petset-home"))
    yield driver
    for folder in driver.home.iterdir():
        driver.run("down", folder.name)


@pytest.fixture(scope="session")
def shared(petset: Driver) -> RealCluster:
    """A cluster of two nodes that the whole session uses; its parts may be killed, it must not be stopped."""
    petset.succeed("up", "shared", "--detach", "--nodes", "2", "--port", "0")
    return petset.cluster("shared")
