"""How a forwarded connection ends: whatever went wrong is told to its client, and a bug of ours is logged as well."""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest

from petset.cluster.api.objects import Object
from petset.cluster.apiserver.api import Api
from petset.cluster.apiserver.kubelets import KubeletAccess, Kubelets, Query
from petset.cluster.apiserver.port_forwarding import Forwarded
from petset.cluster.errors import InternalError
from petset.cluster.streaming.frames import STDOUT, failed, frame, succeeded
from petset.cluster.streaming.takeover import Streams, close
from tests.apis import manifest_pod, new_api

POD = manifest_pod()
POD["metadata"]["namespace"] = "default"


class ScriptedKubelets(Kubelets):
    """Every stream brings these bytes, or cannot be opened."""

    def __init__(self, api: Api, answer: bytes | Exception) -> None:
        super().__init__(api, KubeletAccess("token", ssl.create_default_context()))
        self._answer = answer

    @asynccontextmanager
    async def open_stream(self, pod: Object, path: Sequence[str], query: Query) -> AsyncIterator[Streams]:
        if isinstance(self._answer, Exception):
            raise self._answer
        here, there = socket.socketpair()
        with there:
            there.sendall(self._answer)
            there.shutdown(socket.SHUT_WR)
            streams = await asyncio.open_connection(sock=here)
            try:
                yield streams
            finally:
                await close(streams[1])


async def ignore(data: bytes) -> None:
    """A client that takes everything."""


async def forwarded(answer: bytes | Exception) -> str:
    return await Forwarded(ScriptedKubelets(await new_api(), answer), POD, 80, ignore).run()


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        pytest.param(frame(STDOUT, b"hello") + succeeded(), "", id="the pod has said all"),
        pytest.param(failed("nobody listens"), "nobody listens", id="the kubelet could not"),
        pytest.param(frame(STDOUT, b"hello"), "lost connection to pod", id="the connection broke"),
        pytest.param(InternalError("no route"), "no route", id="no way to the kubelet"),
        pytest.param(b"\1\xff\xff\xff", "a frame of 16777215 bytes; 1048576 are allowed", id="not frames"),
    ],
)
async def test_how_a_connection_ended_is_told(answer: bytes | Exception, told: str) -> None:
    assert await forwarded(answer) == told


async def test_a_bug_is_told_without_its_traceback_which_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR):
        assert await forwarded(KeyError("spec")) == "Internal error occurred: see the API server's log"
    [record] = caplog.records
    assert record.getMessage() == "port-forward to default/a:80 failed"
    assert record.exc_info
    assert isinstance(record.exc_info[1], KeyError)
