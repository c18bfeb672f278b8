"""What cannot be taken back is awaited to its end, and the cancellation is not forgotten."""

from __future__ import annotations

import asyncio

import pytest

from petset.cluster.cancellation import to_the_end

pytestmark = pytest.mark.looptime


async def test_a_wait_that_is_cancelled_goes_on_and_raises_the_last_cancellation() -> None:
    over = asyncio.Event()
    waiting = asyncio.create_task(to_the_end(over.is_set, over.wait))
    for word in ("first", "second"):
        await asyncio.sleep(1)
        waiting.cancel(word)
    await asyncio.sleep(1)
    assert not waiting.done()
    over.set()
    with pytest.raises(asyncio.CancelledError, match="second"):
        await waiting


async def test_nothing_is_raised_when_nobody_cancels() -> None:
    over = asyncio.Event()
    asyncio.get_running_loop().call_later(1, over.set)
    await to_the_end(over.is_set, over.wait)


async def test_what_is_over_is_not_awaited() -> None:
    over = asyncio.Event()
    over.set()
    await to_the_end(over.is_set, asyncio.Event().wait)


async def test_an_error_of_the_wait_is_raised_at_once() -> None:
    async def work() -> None:
        await asyncio.sleep(1)
        raise ValueError("broken")

    task = asyncio.create_task(work())
    with pytest.raises(ValueError, match="broken"):
        await to_the_end(task.done, lambda: asyncio.shield(task))
