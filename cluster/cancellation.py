"""A wait that a cancellation does not cut short: for what is under way and cannot be taken back.

Whoever is cancelled meanwhile waits on, and is cancelled when it is over.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable


async def to_the_end(is_over: Callable[[], bool], wait: Callable[[], Awaitable[object]]) -> None:
    """Wait until it is over, though cancelled meanwhile; the (last) cancellation is raised afterwards.

    A `wait` that ends before it is over, as a cancelled one does, is begun again; any other error of it is raised.
    """
    cancelled: asyncio.CancelledError | None = None
    while not is_over():
        try:
            await wait()
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        raise cancelled
