"""The API server's proxy to pods and services: `…/pods/[scheme:]NAME[:port]/proxy/path`, any method, streamed.

A service's proxy picks one ready endpoint of the named port, at random as the real server does. Bodies stream both ways
in bounded pieces, each side as fast as the other takes them. A request for an upgrade (WebSocket, or any other) that
the pod accepts becomes a plain connection; no certificate of a pod is verified. Redirects are not followed; a Location,
and the links of an HTML page that comes plain, gzipped or deflated, get the proxy's own prefix, so that browsers and
curl stay inside it (proxy_links.py).
"""

from __future__ import annotations

import asyncio
import os
import random
import ssl
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType

import aiohttp
from aiohttp import hdrs, web
from multidict import CIMultiDict
from yarl import URL

from petset.cluster.api.kinds import Kind
from petset.cluster.api.objects import Object
from petset.cluster.apiserver.api import Api
from petset.cluster.apiserver.paths import ResourcePath
from petset.cluster.apiserver.proxy_links import HtmlLinks, PackedLinks, link_rewriter
from petset.cluster.errors import BadRequest, NotFound, Unavailable
from petset.cluster.streaming.takeover import Refused, TakenOver, ask, close, connect, relay, taken_over

PIECE_BYTES = 64 * 1024
CONNECT_SECONDS = 10.0

_HOP_BY_HOP = frozenset(
    name.lower()
    for name in (
        hdrs.CONNECTION, hdrs.KEEP_ALIVE, hdrs.PROXY_AUTHENTICATE, hdrs.PROXY_AUTHORIZATION, hdrs.TE, hdrs.TRAILER,
        hdrs.TRANSFER_ENCODING, hdrs.UPGRADE, hdrs.HOST, hdrs.AUTHORIZATION,
    )
)  # fmt: skip
_NOT_UPGRADED = frozenset((hdrs.HOST.lower(), hdrs.AUTHORIZATION.lower()))
_LENGTHS = _HOP_BY_HOP | {hdrs.CONTENT_LENGTH.lower()}
_NO_WHOLE_BODY = (204, 206, 304)
_UNVERIFIED = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
_UNVERIFIED.check_hostname = False
_UNVERIFIED.verify_mode = ssl.CERT_NONE


@dataclass(frozen=True)
class Target:
    """Where a request goes: scheme, address and port."""

    scheme: str
    host: str
    port: int

    @property
    def origin(self) -> str:
        return f"{self.scheme}://{self.host}:{self.port}"


class PodProxy:
    """Streams requests to pods. `async with` holds its client connections; `source` makes the random choice."""

    def __init__(self, api: Api, *, connector: aiohttp.BaseConnector, source: random.Random) -> None:
        self._api = api
        self._source = source
        self._session = aiohttp.ClientSession(
            connector=connector,
            auto_decompress=False,
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS),
        )

    async def __aenter__(self) -> PodProxy:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._session.close()

    async def handle(self, request: web.Request, kind: Kind, path: ResourcePath) -> web.StreamResponse:
        """Answer a proxy request; what cannot be reached is a 503 Status."""
        if kind.kind not in ("Pod", "Service"):
            raise NotFound("the server could not find the requested resource")
        if path.bare_proxy:
            location = request.rel_url.raw_path + "/" + ("?" + request.query_string if request.query_string else "")
            raise web.HTTPMovedPermanently(location)
        target = self._target(kind, path)
        if _wants_upgrade(request):
            return await self._upgrade(request, target, path=path.rest)
        prefix = request.rel_url.raw_path.removesuffix(path.rest)
        return await self._stream(request, target, path=path.rest, prefix=prefix)

    def _target(self, kind: Kind, path: ResourcePath) -> Target:
        scheme, name, port = split_name(path.name)
        obj = self._api.verbs.get(kind, path.namespace, name)
        if kind.kind == "Pod":
            return pod_target(obj, scheme=scheme, port=port)
        endpoint_slices = [
            each
            for each in self._api.backend.objects("endpointslices.discovery.k8s.io", path.namespace)
            if (each["metadata"].get("labels") or {}).get("kubernetes.io/service-name") == name
        ]
        targets = service_targets(obj, endpoint_slices, scheme=scheme, port=port)
        if not targets:
            raise Unavailable(f'no endpoints available for service "{path.name}"')
        return self._source.choice(targets)

    async def _stream(self, request: web.Request, target: Target, *, path: str, prefix: str) -> web.StreamResponse:
        url = target.origin + path + ("?" + request.rel_url.raw_query_string if request.query_string else "")
        headers = [(name, value) for name, value in request.headers.items() if name.lower() not in _HOP_BY_HOP]
        headers += [("X-Forwarded-For", request.remote or ""), ("X-Forwarded-Uri", request.rel_url.raw_path)]
        body = request.content.iter_chunked(PIECE_BYTES) if request.body_exists else None
        try:
            async with self._session.request(
                request.method, URL(url, encoded=True), headers=headers, data=body, allow_redirects=False
            ) as answer:
                return await _relay(request, answer, link_rewriter(prefix, (answer.url.authority, request.host)))
        except aiohttp.ClientConnectorError as error:
            raise _unreachable(target, error.os_error) from error
        except (aiohttp.ClientError, TimeoutError) as error:
            raise Unavailable(f"error trying to reach service: {error or type(error).__name__}") from error

    async def _upgrade(self, request: web.Request, target: Target, *, path: str) -> web.StreamResponse:
        query = "?" + request.rel_url.raw_query_string if request.query_string else ""
        kept = [(name, value) for name, value in request.headers.items() if name.lower() not in _NOT_UPGRADED]
        headers = [("Host", f"{target.host}:{target.port}"), *kept]
        tls = _UNVERIFIED if target.scheme == "https" else None
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                pod = await connect(target.host, target.port, tls)
        except (OSError, TimeoutError) as error:
            raise _unreachable(target, error) from error
        try:
            head = await ask(pod, method=request.method, target=path + query, headers=headers)
            async with taken_over(request, head) as client:
                await relay(client, pod)
            return TakenOver()
        except Refused as refused:
            answered = [(name, value) for name, value in refused.headers if name.lower() not in _LENGTHS]
            return web.Response(status=refused.status, headers=CIMultiDict(answered), body=refused.body)
        except ConnectionError as error:
            raise Unavailable(f"error trying to reach service: {error}") from error
        finally:
            await close(pod[1])


def _wants_upgrade(request: web.Request) -> bool:
    return "upgrade" in request.headers.get(hdrs.CONNECTION, "").lower() and hdrs.UPGRADE in request.headers


def _unreachable(target: Target, error: OSError) -> Unavailable:
    reason = os.strerror(error.errno).lower() if error.errno else str(error) or type(error).__name__
    return Unavailable(f"error trying to reach service: dial tcp {target.host}:{target.port}: connect: {reason}")


async def _relay(
    request: web.Request, answer: aiohttp.ClientResponse, rewritten: Callable[[str], str]
) -> web.StreamResponse:
    response = web.StreamResponse(status=answer.status, reason=answer.reason)
    for name, value in answer.headers.items():
        if name.lower() not in _HOP_BY_HOP:
            response.headers.add(name, value)
    if location := response.headers.get(hdrs.LOCATION):
        response.headers[hdrs.LOCATION] = rewritten(location)
    page = _page(request, answer, rewritten)
    if page is not None:
        response.headers.popall(hdrs.CONTENT_LENGTH, None)
    await response.prepare(request)
    try:
        async for piece in answer.content.iter_chunked(PIECE_BYTES):
            if passing := piece if page is None else page.feed(piece):
                await response.write(passing)
        if page is not None:
            await response.write(page.finish())
    except zlib.error as error:
        raise _broken_off(request, error) from error
    except aiohttp.ClientError as error:
        raise _broken_off(request, error) from error
    await response.write_eof()
    return response


def _page(
    request: web.Request, answer: aiohttp.ClientResponse, rewritten: Callable[[str], str]
) -> HtmlLinks | PackedLinks | None:
    """What rewrites the answer's body; None for one that is no page, a part of one, or in an encoding of others."""
    if answer.content_type != "text/html" or request.method == hdrs.METH_HEAD or answer.status in _NO_WHOLE_BODY:
        return None
    links = HtmlLinks(rewritten)
    match answer.headers.get(hdrs.CONTENT_ENCODING, "").lower():
        case "" | "identity":
            return links
        case "gzip" | "deflate" as encoding:
            return PackedLinks(links, encoding)
    return None


def _broken_off(request: web.Request, error: Exception) -> ConnectionResetError:
    """The status line is gone already: all that is left is to break the connection, so that the client notices."""
    if request.transport is not None:
        request.transport.abort()
    return ConnectionResetError(str(error))


def split_name(text: str) -> tuple[str, str, str]:
    """(scheme, name, port) of `NAME`, `NAME:PORT` or `SCHEME:NAME:PORT`; empty where not given."""
    parts = text.split(":")
    if len(parts) == 1:
        return "", parts[0], ""
    if len(parts) == 2:
        return "", parts[0], parts[1]
    if len(parts) == 3 and parts[0] in ("", "http", "https"):
        return parts[0], parts[1], parts[2]
    raise BadRequest(f'invalid pod or service request "{text}"')


def pod_target(pod: Object, *, scheme: str, port: str) -> Target:
    """A pod's address; without a port the first container port, else 80 (pod strategy's ResourceLocation)."""
    address = (pod.get("status") or {}).get("podIP")
    if not address:
        raise BadRequest("address not allowed")
    ports = [each for container in pod["spec"]["containers"] for each in container.get("ports") or ()]
    number = int(port) if port.isdigit() else None
    if port and number is None:
        number = next((each["containerPort"] for each in ports if each.get("name") == port), None)
        if number is None:
            raise NotFound(f'pod {pod["metadata"]["name"]} has no port named "{port}"')
    if number is None:
        number = ports[0]["containerPort"] if ports else 80
    return Target(scheme or "http", address, number)


def service_targets(service: Object, endpoint_slices: list[Object], *, scheme: str, port: str) -> list[Target]:
    """Every ready address of the asked service port (service REST ResourceLocation).

    Ports are matched by name, so a request without a port reaches only a port without a name: that is why the proxy of
    the seeds' headless service, whose port is called `http`, finds no endpoints unless it is asked for by that name.
    """
    ports = service["spec"].get("ports") or []
    if port.isdigit():
        names = [each.get("name", "") for each in ports if each["port"] == int(port)]
        if not names:
            raise Unavailable(f'no service port {port} found for service "{service["metadata"]["name"]}"')
        port = names[0]
    found = []
    for endpoint_slice in endpoint_slices:
        numbers = [each["port"] for each in endpoint_slice.get("ports") or () if each.get("name", "") == port]
        for endpoint in endpoint_slice.get("endpoints") or ():
            if (endpoint.get("conditions") or {}).get("ready") is False:
                continue
            found += [
                Target(scheme or "http", address, number) for address in endpoint["addresses"] for number in numbers
            ]
    return found
