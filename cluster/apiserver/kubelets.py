"""The API server's way to a kubelet: its address from the Node, TLS by the cluster's authority, a token of its own.

    pod.spec.nodeName ─► Node: status.addresses, daemonEndpoints.kubeletEndpoint ─► https://ADDRESS:PORT/…

`open_stream` gives a connection of frames (streaming/frames.py), `logs` a text that streams, `summary` a node's
figures. Answers of the kubelet that are errors become the error that they are; a kubelet that cannot be reached within
CONNECT_SECONDS is an InternalError, in the words of the real server's dialer.
"""

from __future__ import annotations

import asyncio
import os
import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from urllib.parse import quote, urlencode

import aiohttp
import orjson

from petset.cluster.api.objects import Object
from petset.cluster.apiserver.api import Api
from petset.cluster.errors import ApiError, BadRequest, InternalError, NotFound, from_status
from petset.cluster.streaming.takeover import Refused, Streams, ask, close, connect

PROTOCOL = "petset-frames"
CONNECT_SECONDS = 10.0
SUMMARY_SECONDS = 10.0

Query = Sequence[tuple[str, str]]


@dataclass(frozen=True)
class KubeletAccess:
    """What an API server shows to kubelets, and what it trusts."""

    token: str
    tls: ssl.SSLContext


class Kubelets:
    """The kubelets of one cluster, as its Nodes tell of them."""

    def __init__(self, api: Api, access: KubeletAccess) -> None:
        self._api = api
        self._access = access

    @asynccontextmanager
    async def open_stream(self, pod: Object, path: Sequence[str], query: Query) -> AsyncIterator[Streams]:
        """A connection of frames; closed at the block's end. Raises ApiError."""
        host, port = self._endpoint(pod["spec"]["nodeName"])
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                streams = await connect(host, port, self._access.tls)
        except OSError as error:  # TimeoutError is one
            raise _unreachable(host, port, error) from error
        try:
            headers = [*self._headers(host, port).items(), ("Connection", "Upgrade"), ("Upgrade", PROTOCOL)]
            try:
                await ask(streams, method="POST", target=_target(path, query), headers=headers)
            except Refused as refused:
                raise _error_of(refused.body) from refused
            except ConnectionError as error:
                raise _unreachable(host, port, error) from error
            yield streams
        finally:
            await close(streams[1])

    @asynccontextmanager
    async def logs(self, pod: Object, path: Sequence[str], query: Query) -> AsyncIterator[aiohttp.StreamReader]:
        """A text that streams. Raises ApiError."""
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS)
        async with self._get(pod["spec"]["nodeName"], _target(path, query), timeout) as answer:
            yield answer.content

    async def summary(self, node_name: str) -> Object:
        """What a node and its pods use (kubelet/usage.py). Raises ApiError, aiohttp.ClientError, TimeoutError."""
        timeout = aiohttp.ClientTimeout(total=SUMMARY_SECONDS, sock_connect=CONNECT_SECONDS)
        async with self._get(node_name, "/stats/summary", timeout) as answer:
            found: Object = orjson.loads(await answer.read())
            return found

    @asynccontextmanager
    async def _get(
        self, node_name: str, target: str, timeout: aiohttp.ClientTimeout
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        host, port = self._endpoint(node_name)
        connector = aiohttp.TCPConnector(ssl=self._access.tls, force_close=True)
        url = f"https://{_authority(host, port)}{target}"
        try:
            async with (
                aiohttp.ClientSession(connector=connector, timeout=timeout) as session,
                session.get(url, headers=self._headers(host, port)) as answer,
            ):
                if answer.status != 200:
                    raise _error_of(await answer.read())
                yield answer
        except aiohttp.ClientConnectorError as error:
            raise _unreachable(host, port, error.os_error) from error
        except aiohttp.ServerTimeoutError as error:
            raise _unreachable(host, port, error) from error

    def _endpoint(self, name: str) -> tuple[str, int]:
        try:
            status = self._api.verbs.get(self._api.registry.of_kind("Node"), "", name).get("status") or {}
        except NotFound as error:
            raise NotFound(f'nodes "{name}" not found') from error
        port = ((status.get("daemonEndpoints") or {}).get("kubeletEndpoint") or {}).get("Port")
        for address in status.get("addresses") or ():
            if port and address["type"] == "InternalIP":
                return address["address"], int(port)
        raise InternalError(f"Internal error occurred: no kubelet endpoint known of node {name}")

    def _headers(self, host: str, port: int) -> dict[str, str]:
        return {"Host": _authority(host, port), "Authorization": f"Bearer {self._access.token}"}


def _authority(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _target(path: Sequence[str], query: Query) -> str:
    return "/" + "/".join(quote(part, safe="") for part in path) + ("?" + urlencode(query) if query else "")


def _unreachable(host: str, port: int, error: OSError) -> ApiError:
    if isinstance(error, TimeoutError):
        reason = "i/o timeout"
    else:
        reason = f"connect: {os.strerror(error.errno).lower() if error.errno else str(error) or type(error).__name__}"
    message = f"error dialing backend: dial tcp {_authority(host, port)}: {reason}"
    return InternalError(f"Internal error occurred: {message}")


def _error_of(body: bytes) -> ApiError:
    try:
        return from_status(orjson.loads(body))
    except orjson.JSONDecodeError:
        return BadRequest(body.decode(errors="replace")[:1000] or "the kubelet refused")
