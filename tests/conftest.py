"""What every test shares: an event loop that pytest-asyncio finds instead of making one that nobody closes."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest


@pytest.fixture(scope="session", autouse=True)
def outer_loop() -> Iterator[None]:
    """pytest-asyncio asks the policy for the "present" loop around each test, which would create one and leak it."""
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    yield
    asyncio.set_event_loop(None)
    loop.close()
