"""Ports of the host, lent over the listener broker: one socket for all borrowers, free again after the last."""

from __future__ import annotations

import asyncio
import errno
import socket
import tempfile
from collections.abc import AsyncIterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from petset.actors.listeners import broker_path, listener_broker
from petset.cluster.network.host_ports import HOST, borrow_host_port, borrow_outward_socket


@pytest.fixture
async def lender() -> AsyncIterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        async with listener_broker(folder, {}):
            yield broker_path(folder)


@pytest.fixture
def port() -> int:
    with socket.create_server((HOST, 0)) as server:
        return int(server.getsockname()[1])


async def borrow(
    lender: Path, port: int, resources: ExitStack, kind: socket.SocketKind = socket.SOCK_STREAM
) -> socket.socket:
    made = await asyncio.to_thread(borrow_host_port, lender, port, kind, resources)
    return resources.enter_context(made)


async def is_refused(port: int) -> bool:
    """Once the lender has heard of what was given back."""
    for _ in range(1000):
        await asyncio.sleep(0)
        try:
            socket.create_connection((HOST, port)).close()
        except ConnectionRefusedError:
            return True
    return False


async def test_borrowers_share_one_socket_until_the_last_gives_it_back(lender: Path, port: int) -> None:
    first, second = ExitStack(), ExitStack()
    made, other = await borrow(lender, port, first), await borrow(lender, port, second)
    assert made.getsockname() == other.getsockname() == (HOST, port)
    first.close()
    with socket.create_connection((HOST, port)):
        accepted, peer = other.accept()
        accepted.close()
        assert peer[0] == HOST
    second.close()
    assert await is_refused(port)


async def test_a_port_that_was_given_back_can_be_borrowed_again(lender: Path, port: int) -> None:
    for _ in range(2):
        with ExitStack() as resources:
            await borrow(lender, port, resources)
        assert await is_refused(port)


async def test_udp_is_lent_beside_tcp(lender: Path, port: int) -> None:
    with ExitStack() as resources:
        kinds = [(await borrow(lender, port, resources, kind)).type for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM)]
        assert kinds == [socket.SOCK_STREAM, socket.SOCK_DGRAM]


async def test_a_port_that_is_taken_is_refused_as_bind_would(lender: Path) -> None:
    with socket.create_server((HOST, 0)) as taken, ExitStack() as resources:
        with pytest.raises(OSError) as refused:
            await borrow(lender, taken.getsockname()[1], resources)
        assert refused.value.errno == errno.EADDRINUSE


async def test_what_is_no_port_is_refused(lender: Path) -> None:
    with ExitStack() as resources, pytest.raises(OSError):
        await borrow(lender, 70_000, resources)


@pytest.mark.parametrize(
    ("host", "kind"),
    [("192.0.2.1", socket.SOCK_STREAM), ("192.0.2.1", socket.SOCK_DGRAM), ("2001:db8::1", socket.SOCK_DGRAM)],
    ids=["tcp", "udp", "udp to IPv6"],
)
async def test_a_socket_to_the_outside_is_fresh_and_stays(lender: Path, host: str, kind: socket.SocketKind) -> None:
    def borrow_two() -> list[socket.socket]:
        return [borrow_outward_socket(lender, host, kind=kind) for _ in range(2)]

    made, other = await asyncio.to_thread(borrow_two)
    with made, other:
        assert made.type == kind
        assert (made.family == socket.AF_INET6) == (":" in host)
        place = "::1" if ":" in host else HOST
        made.bind((place, 0))
        other.bind((place, 0))
        assert made.getsockname() != other.getsockname(), "two sockets, not one that is shared"
