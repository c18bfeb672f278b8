"""The `Client` protocol over HTTP(S): what every component of a running cluster uses.

Connections come from the machine that the component lives on (`connector`); a request is bounded by REQUEST_SECONDS,
a watch by nothing but its stream. Failed responses become the errors that their Status names; a broken or refused
connection becomes Unavailable, which says that nobody knows whether the request happened.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Any, Literal

import aiohttp
import orjson

from petset.cluster.api.kinds import Kind, Registry
from petset.cluster.api.objects import Object, name_of, namespace_of
from petset.cluster.control.client import OWNERS, Listing, WatchEvent
from petset.cluster.errors import ApiError, Expired, NotFound, Unavailable, from_status

REQUEST_SECONDS = 30.0
MAX_REQUESTS = 8
"""At one moment, before others wait. Each needs a connection, and a new one costs both sides as much as several
requests: with a hundred pods at once, a fifth of the kubelet's work."""
TURN_SECONDS = 0.5
"""Who waits longer goes ahead on a connection of its own: those before it may be on a cable that was cut."""
MAX_EVENT_BYTES = 8 * 1024 * 1024
_PATCH_TYPES = {
    "merge": "application/merge-patch+json",
    "json": "application/json-patch+json",
    "strategic": "application/strategic-merge-patch+json",
}


CustomKinds = Callable[[], tuple[Kind, ...]]


def no_custom_kinds() -> tuple[Kind, ...]:
    return ()


class HttpClient:
    """`async with HttpClient(…)`; `make_connector` is called inside the running loop."""

    def __init__(
        self,
        server: str,
        token: str,
        make_connector: Callable[[], aiohttp.BaseConnector],
        *,
        user_agent: str = "petset",
        custom_kinds: CustomKinds = no_custom_kinds,
    ) -> None:
        self._server = server
        self._registry = Registry(extra=custom_kinds)
        self._make_connector = make_connector
        self._headers = {"Authorization": f"Bearer {token}", "User-Agent": user_agent, "Accept": "application/json"}
        self._turns = asyncio.Semaphore(MAX_REQUESTS)
        self._open: list[aiohttp.ClientSession] = []

    async def __aenter__(self) -> HttpClient:
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=REQUEST_SECONDS)
        session = aiohttp.ClientSession(
            connector=self._make_connector(), headers=self._headers, timeout=timeout, read_bufsize=MAX_EVENT_BYTES
        )
        self._open.append(session)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        while self._open:
            await self._open.pop().close()

    async def get(self, kind: str, name: str, namespace: str = "") -> Object:
        return await self._request("GET", self._registry.of_kind(kind).path(namespace, name))

    async def list(
        self, kind: str, namespace: str = "", *, label_selector: str = "", field_selector: str = ""
    ) -> Listing:
        row = self._registry.of_kind(kind)
        query = _query(labelSelector=label_selector, fieldSelector=field_selector)
        answer = await self._request("GET", row.path(namespace), query=query)
        return Listing(answer["items"], answer["metadata"]["resourceVersion"])

    @asynccontextmanager
    async def watch(
        self, kind: str, namespace: str = "", *, revision: str, field_selector: str = ""
    ) -> AsyncIterator[AsyncIterator[WatchEvent]]:
        query = _query(watch="true", resourceVersion=revision, fieldSelector=field_selector, allowWatchBookmarks="true")
        url = self._server + self._registry.of_kind(kind).path(namespace)
        try:
            async with self._session.get(url, params=query) as response:
                if response.status != 200:
                    raise await _error_of(response)
                yield _events(response)
        except (aiohttp.ClientError, OSError) as error:
            raise _unavailable(error) from error

    async def create(self, obj: Object, *, subresource: str = "", name: str = "") -> Object:
        kind = OWNERS[subresource] if subresource else obj["kind"]
        path = self._registry.of_kind(kind).path(namespace_of(obj), name, subresource)
        return await self._request("POST", path, body=obj)

    async def update(self, obj: Object, *, subresource: str = "") -> Object:
        path = self._registry.of_kind(obj["kind"]).path(namespace_of(obj), name_of(obj), subresource)
        return await self._request("PUT", path, body=obj)

    async def patch(
        self, kind: str, name: str, namespace: str = "", *,
        body: Any, patch_type: Literal["merge", "json", "strategic"] = "merge", subresource: str = "",
    ) -> Object:  # fmt: skip
        path = self._registry.of_kind(kind).path(namespace, name, subresource)
        return await self._request("PATCH", path, body=body, content_type=_PATCH_TYPES[patch_type])

    async def delete(self, kind: str, name: str, namespace: str = "", *, options: Object | None = None) -> Object:
        return await self._request("DELETE", self._registry.of_kind(kind).path(namespace, name), body=options)

    async def request_raw(self, method: str, path: str, *, body: bytes | None = None) -> bytes:
        """Any path of the server, e.g. a pod's proxy. Raises the Status's error, or Unavailable."""
        try:
            async with asyncio.timeout(REQUEST_SECONDS):
                async with self._session.request(method, self._server + path, data=body) as response:
                    if response.status >= 400:
                        raise await _error_of(response)
                    return await response.read()
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise _unavailable(error) from error

    @asynccontextmanager
    async def _turn(self) -> AsyncIterator[None]:
        try:
            async with asyncio.timeout(TURN_SECONDS):
                await self._turns.acquire()
        except TimeoutError:
            yield
            return
        try:
            yield
        finally:
            self._turns.release()

    @property
    def _session(self) -> aiohttp.ClientSession:
        return self._open[-1]

    async def _request(
        self, method: str, path: str, *,
        query: dict[str, str] | None = None, body: Any = None, content_type: str = "application/json",
    ) -> Object:  # fmt: skip
        data = None if body is None else orjson.dumps(body)
        headers = {"Content-Type": content_type} if data is not None else {}
        try:
            async with (
                asyncio.timeout(REQUEST_SECONDS),
                self._turn(),
                self._session.request(
                    method, self._server + path, params=query, data=data, headers=headers
                ) as response,
            ):
                if response.status >= 400:
                    raise await _error_of(response)
                return _object(await response.read())
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise _unavailable(error) from error


async def _events(response: aiohttp.ClientResponse) -> AsyncIterator[WatchEvent]:
    while True:
        try:
            line = await response.content.readline()
        except ValueError as error:
            raise Expired(f"an event larger than {MAX_EVENT_BYTES} bytes") from error
        if not line:
            return
        event = orjson.loads(line)
        if event["type"] == "ERROR":
            raise from_status(event["object"])
        yield WatchEvent(event["type"], event["object"])


async def _error_of(response: aiohttp.ClientResponse) -> ApiError:
    raw = await response.read()
    try:
        status = orjson.loads(raw)
    except orjson.JSONDecodeError:
        status = None
    if isinstance(status, dict) and status.get("kind") == "Status":
        return from_status(status)
    text = raw[:200].decode(errors="replace")
    if response.status == 404:
        return NotFound(text)
    return Unavailable(f"HTTP {response.status}: {text}")


def _object(raw: bytes) -> Object:
    value = orjson.loads(raw)
    if not isinstance(value, dict):
        raise Unavailable("the server's answer is not an object")
    return value


def _unavailable(error: BaseException) -> Unavailable:
    return Unavailable(f"the API server did not answer: {error or type(error).__name__}")


def _query(**parameters: str) -> dict[str, str]:
    return {name: value for name, value in parameters.items() if value}
