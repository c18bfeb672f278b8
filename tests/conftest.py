"""What every test shares: an event loop that pytest-asyncio finds, and which tests may not run at the same time."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests of one file run one after another, in one worker, and so share its fixtures; those on Ray all do.

    Files that contend for something of the machine name a group of their own (`pytest.mark.xdist_group`).
    """
    for item in items:
        if item.get_closest_marker("xdist_group") is None:
            is_on_ray = "on_ray" in item.path.parts
            item.add_marker(pytest.mark.xdist_group("on_ray" if is_on_ray else str(item.path)))


@pytest.fixture(scope="session", autouse=True)
def outer_loop() -> Iterator[None]:
    """pytest-asyncio asks the policy for the "present" loop around each test, which would create one and leak it."""
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    yield
    asyncio.set_event_loop(None)
    loop.close()
