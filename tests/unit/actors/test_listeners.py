"""Listening sockets handed over by the broker, on real sockets."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from petset.actors.listeners import ListenerError, listener_broker, take_listener


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as made:
        yield made


async def test_a_taken_listener_serves_on_the_brokers_port(tmp_path: Path, listener: socket.socket) -> None:
    async def answer(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"here")
        writer.close()

    async with listener_broker(str(tmp_path), {"api": listener}):
        taken = await take_listener(str(tmp_path), "api")
        assert taken.fileno() != listener.fileno()
        async with await asyncio.start_server(answer, sock=taken):
            reader, writer = await asyncio.open_connection(*listener.getsockname())
            assert await reader.read() == b"here"
            writer.close()


async def test_the_port_outlives_its_server_and_can_be_taken_again(tmp_path: Path, listener: socket.socket) -> None:
    async with listener_broker(str(tmp_path), {"api": listener}):
        (await take_listener(str(tmp_path), "api")).close()
        waiting = socket.create_connection(listener.getsockname())
        with waiting, await take_listener(str(tmp_path), "api") as again:
            connection, _ = await asyncio.get_running_loop().sock_accept(again)
            assert connection.getpeername() == waiting.getsockname()
            connection.close()


async def test_an_unknown_name_is_refused(tmp_path: Path, listener: socket.socket) -> None:
    async with listener_broker(str(tmp_path), {"api": listener}):
        with pytest.raises(ListenerError, match="no listener named 'web'"):
            await take_listener(str(tmp_path), "web")


async def test_without_a_broker_there_is_an_error_of_ours(tmp_path: Path) -> None:
    with pytest.raises(ListenerError, match="does not answer"):
        await take_listener(str(tmp_path), "api")
