"""A part of an actor: killed it begins anew, held down it waits, failed it takes the actor along."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from petset.actors.part import Part

pytestmark = pytest.mark.looptime


class Site:
    def __init__(self) -> None:
        self.part = Part()
        self.alive = 0
        self.lives = 0
        self.running = asyncio.create_task(self.part.run(self.body))

    async def body(self) -> None:
        self.lives += 1
        self.alive += 1
        try:
            await asyncio.sleep(3600)
        finally:
            self.alive -= 1


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    site = Site()
    await asyncio.sleep(0.01)
    yield site
    site.running.cancel()
    await asyncio.wait({site.running})
    assert site.alive == 0


async def test_a_killed_part_begins_anew(site: Site) -> None:
    site.part.kill()
    await asyncio.sleep(0.01)
    assert (site.lives, site.alive) == (2, 1)


async def test_a_part_that_is_held_down_waits_for_the_last_to_let_go(site: Site) -> None:
    for reason in ("f1", "f2"):
        site.part.hold_down(reason)
    await asyncio.sleep(1)
    assert (site.lives, site.alive) == (1, 0)
    site.part.let_up("f1")
    await asyncio.sleep(1)
    assert site.alive == 0
    site.part.let_up("f2")
    await asyncio.sleep(0.01)
    assert (site.lives, site.alive) == (2, 1)


async def test_letting_up_what_was_never_held_changes_nothing(site: Site) -> None:
    site.part.let_up("f9")
    await asyncio.sleep(0.01)
    assert (site.lives, site.alive) == (1, 1)


async def test_a_part_that_fails_by_itself_fails_its_actor() -> None:
    async def fail() -> None:
        raise RuntimeError("broken")

    with pytest.raises(RuntimeError, match="broken"):
        await Part().run(fail)
