"""The work queue: each key once, one worker per key, later and again, all in virtual time."""

from __future__ import annotations

import asyncio

import pytest

from petset.cluster.control.workqueue import FIRST_RETRY_SECONDS, MAX_RETRY_SECONDS, WorkQueue

A, B = ("default", "a"), ("default", "b")


async def taken(queue: WorkQueue) -> tuple[str, str]:
    async with asyncio.timeout(1000):
        return await queue.take()


async def test_a_key_added_twice_is_handed_out_once() -> None:
    queue = WorkQueue()
    queue.add(A)
    queue.add(A)
    queue.add(B)
    assert [await taken(queue), await taken(queue)] == [A, B]
    assert queue.idle is False
    queue.done(A)
    queue.done(B)
    assert queue.idle


async def test_a_key_added_while_worked_on_comes_again_only_when_done() -> None:
    queue = WorkQueue()
    queue.add(A)
    await taken(queue)
    queue.add(A)
    queue.add(B)
    assert await taken(queue) == B
    queue.done(A)
    assert await taken(queue) == A


@pytest.mark.looptime
async def test_the_earlier_of_two_times_wins(looptime: object) -> None:
    queue = WorkQueue()
    queue.add_after(A, 60)
    queue.add_after(A, 5)
    queue.add_after(A, 90)
    await taken(queue)
    assert looptime == 5


@pytest.mark.looptime
async def test_retries_double_to_the_ceiling_and_success_forgets() -> None:
    queue = WorkQueue()
    seconds = []
    for _ in range(20):
        seconds.append(queue.retry(A))
        await taken(queue)
        queue.done(A)
    assert seconds[:3] == [FIRST_RETRY_SECONDS, FIRST_RETRY_SECONDS * 2, FIRST_RETRY_SECONDS * 4]
    assert seconds[-1] == MAX_RETRY_SECONDS
    queue.succeeded(A)
    assert queue.retry(A) == FIRST_RETRY_SECONDS
    queue.close()
