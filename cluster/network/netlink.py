"""How this project opens pyroute2: with an event loop of its own, of asyncio's plain kind.

pyroute2 would ask the process's event loop policy for one, and uvloop's, which Ray's workers have, cannot do netlink.
Neither may be called on a thread with a running event loop.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from pyroute2 import IPRoute
from pyroute2.netlink.nfnetlink.nfctsocket import AsyncNFCTSocket, NFCTSocket
from pyroute2.nftables.main import AsyncNFTables, NFTables


@contextmanager
def open_routes() -> Iterator[IPRoute]:
    """Interfaces, addresses and routes of this thread's network namespace."""
    with _own_loop() as loop, IPRoute(use_event_loop=loop) as routes:
        yield routes


@contextmanager
def open_tables(family: int) -> Iterator[NFTables]:
    """nftables of this thread's network namespace, one address family of it."""
    with _own_loop() as loop, _Tables(family, loop) as tables:
        yield tables


@contextmanager
def open_connections() -> Iterator[NFCTSocket]:
    """The tracked connections of this thread's network namespace."""
    with _own_loop() as loop, _Connections(loop) as connections:
        yield connections


class _Tables(NFTables):  # type: ignore[misc]  # pyroute2 has no types
    """NFTables (0.9) takes no event loop; this is its constructor, with one."""

    def __init__(self, family: int, loop: asyncio.AbstractEventLoop) -> None:
        self.asyncore = AsyncNFTables(nfgen_family=family)
        self.asyncore.use_event_loop = loop
        self.asyncore.local.keep_event_loop = True
        self.asyncore.event_loop.run_until_complete(self.asyncore.setup_endpoint())


class _Connections(NFCTSocket):  # type: ignore[misc]  # pyroute2 has no types
    """NFCTSocket, which else would open only at its first question, in whatever namespace its thread is by then."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.asyncore = AsyncNFCTSocket(use_event_loop=loop)
        self.asyncore.local.keep_event_loop = True
        self.asyncore.event_loop.run_until_complete(self.asyncore.setup_endpoint())


@contextmanager
def _own_loop() -> Iterator[asyncio.AbstractEventLoop]:
    loop = asyncio.SelectorEventLoop()
    try:
        yield loop
    finally:
        if not loop.is_closed():
            loop.run_until_complete(asyncio.sleep(0))  # what was closed in it ends in its next round
            loop.close()
