"""Every `Backend`: a test that asks for one runs over all of them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import nullcontext
from functools import partial
from pathlib import Path

import pytest

from petset.cluster.store.backend import Backend
from petset.cluster.store.memory import MemoryBackend
from petset.cluster.store.sqlite import SqliteBackend
from tests.contract.stores import Opener


@pytest.fixture(params=["memory", "sqlite"])
def opener(request: pytest.FixtureRequest, tmp_path: Path) -> Opener:
    """Opens an empty backend; the bounds of its history and its watchers may be given."""
    if request.param == "memory":
        return lambda **bounds: nullcontext(MemoryBackend(**bounds))
    return partial(SqliteBackend.open, tmp_path / "store.db")


@pytest.fixture
async def backend(opener: Opener) -> AsyncIterator[Backend]:
    async with opener() as opened:
        yield opened
