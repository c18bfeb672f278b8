"""What every test shares: property tests that repeat, a loop that pytest-asyncio finds, who may run beside whom."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from xdist.scheduler import LoadScopeScheduling

ON_RAY = "tests/on_ray/"

# Property tests are the same in every run, and a busy machine's slowness is no finding of theirs.
settings.register_profile("petset", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("petset")

# A script's background job ignores Ctrl-C, and so would every program that is started here to be interrupted.
signal.signal(signal.SIGINT, signal.default_int_handler)


class FileByFile(LoadScopeScheduling):
    """Tests of one file run one after another, in one process, and so share its fixtures; those on Ray all do."""

    def _split_scope(self, nodeid: str) -> str:
        return ON_RAY if nodeid.startswith(ON_RAY) else nodeid.partition("::")[0]


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> FileByFile:
    """How a run in several processes (`-n 2`) is divided."""
    return FileByFile(config, log)


@pytest.fixture(scope="session", autouse=True)
def outer_loop() -> Iterator[None]:
    """pytest-asyncio asks the policy for the "present" loop around each test, which would create one and leak it."""
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    yield
    asyncio.set_event_loop(None)
    loop.close()
