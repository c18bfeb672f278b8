"""Bytes to verbs and back: the only HTTP server of the API.

    request ─▶ who (authentication.py) ─▶ what (paths.py, registry) ─▶ verb ─▶ form (rendering.py) ─▶ JSON
                                              └─ proxy subresource ─▶ proxy.py streams it

Every error is a Kubernetes Status; an unexpected one is logged here and answered without its traceback. Bounds: bodies
of MAX_BODY_BYTES; a watcher that does not read is dropped by the store's bounded queue and must list again; a client
that does not take its answer is cut off (deliveries.py).
"""

from __future__ import annotations

import asyncio
import dataclasses
import logging
from collections.abc import Iterable
from typing import Any

from aiohttp import web

from petset.cluster.api.kinds import Kind
from petset.cluster.api.objects import Object
from petset.cluster.apiserver.about import OPEN_PATHS, About, json_response
from petset.cluster.apiserver.api import Api
from petset.cluster.apiserver.authentication import TokenAuthenticator, User
from petset.cluster.apiserver.bodies import MAX_BODY_BYTES, parse_body, parse_patch
from petset.cluster.apiserver.component_statuses import DEPRECATION, component_status, component_statuses
from petset.cluster.apiserver.component_statuses import KIND as COMPONENT_STATUS
from petset.cluster.apiserver.decoding import decode
from petset.cluster.apiserver.deletion import RETURNS_OBJECT
from petset.cluster.apiserver.deliveries import WRITE_SECONDS, deliver
from petset.cluster.apiserver.metrics import GROUP as METRICS_GROUP
from petset.cluster.apiserver.metrics import Metrics
from petset.cluster.apiserver.options import DeleteOptions, ListOptions, WatchOptions, WriteOptions, is_true
from petset.cluster.apiserver.paths import ResourcePath, parse_path
from petset.cluster.apiserver.pod_streams import SUBRESOURCES as STREAMED
from petset.cluster.apiserver.pod_streams import PodStreams
from petset.cluster.apiserver.proxy import PodProxy
from petset.cluster.apiserver.rendering import form_of, render_list, render_object
from petset.cluster.apiserver.request_counts import RequestCounts
from petset.cluster.apiserver.reviews import Reviews, requested_by
from petset.cluster.apiserver.verbs import Answer
from petset.cluster.apiserver.watch_stream import stream_watch
from petset.cluster.errors import ApiError, BadRequest, InternalError, MethodNotAllowed, NotFound, TooLarge
from petset.cluster.streaming.takeover import TakenOver

log = logging.getLogger(__name__)

READ_SECONDS = 60.0
"""How long a client may take to send a body."""


class HttpServer:
    """The aiohttp application of one API. `application()` makes it; running it is the caller's."""

    def __init__(
        self, api: Api, *,
        authenticator: TokenAuthenticator, proxy: PodProxy, streams: PodStreams, metrics: Metrics,
        write_seconds: float = WRITE_SECONDS,
    ) -> None:  # fmt: skip
        self._api = api
        self._authenticator = authenticator
        self._proxy = proxy
        self._streams = streams
        self._metrics = metrics
        self._about = About(api.registry, api.schemas)
        self._counts = RequestCounts(api.registry, api.backend)
        self._told: dict[int, int] = {}
        """By the id of a request that is being answered: the status that its client was told already; 0: none."""
        self._reviews = Reviews(authenticator)
        self._write_seconds = write_seconds

    def application(self) -> web.Application:
        app = web.Application(client_max_size=MAX_BODY_BYTES)
        app.router.add_route("*", "/{path:.*}", self._count)
        app.on_response_prepare.append(self._note_status)
        return app

    async def _count(self, request: web.Request) -> web.StreamResponse:
        content_type = request.headers.get("Content-Type", "")
        asked = self._counts.began(request.method, request.rel_url.raw_path, request.query, content_type=content_type)
        now, code = asyncio.get_running_loop().time, 0
        began_at = now()
        self._told[id(request)] = 0
        try:
            response = await self._handle(request)
            code = response.status
            return response
        finally:
            self._counts.ended(asked, self._told.pop(id(request)) or code, now() - began_at)

    async def _note_status(self, request: web.Request, response: web.StreamResponse) -> None:
        """What the client of a stream was told counts, however that ends: most end by the client's leaving."""
        if id(request) in self._told:
            self._told[id(request)] = response.status

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        try:
            response = await self._route(request)
            await deliver(request, response, seconds=self._write_seconds)
            return response
        except ApiError as error:
            return _status_response(error)
        except web.HTTPRequestEntityTooLarge:
            limit = f"limit is {MAX_BODY_BYTES}"
            return _status_response(TooLarge(f"Request entity too large: {limit}"))
        except ConnectionError:
            if not request.writer.output_size:
                raise
            return TakenOver()  # its answer broke off in the middle: there is nothing more to tell it
        except asyncio.CancelledError:
            raise
        except Exception:
            # The last line of defence: whatever slipped through is our bug, and no client may see its traceback.
            log.exception("%s %s failed", request.method, request.path)
            return _status_response(InternalError("Internal error occurred: see the API server's log"))

    async def _route(self, request: web.Request) -> web.StreamResponse:
        raw_path = request.rel_url.raw_path
        if raw_path.rstrip("/") in OPEN_PATHS:
            return self._about.answer(request, raw_path.rstrip("/"))
        user = self._authenticator.authenticate(request.headers.get("Authorization", ""))
        if raw_path == "/metrics":
            body, content_type = self._counts.text()
            return web.Response(body=body, headers={"Content-Type": content_type})
        path = parse_path(raw_path)
        if path is None:
            return self._about.answer(request, raw_path.rstrip("/"))
        if path.version == "" or not path.plural:
            raise NotFound("the server could not find the requested resource")
        kind = self._api.registry.at_path(path.group, path.version, path.plural)
        if path.namespace and not kind.namespaced:
            raise NotFound("the server could not find the requested resource")
        if kind.group == METRICS_GROUP:
            return await self._measured(request, kind, path)
        if kind.kind == COMPONENT_STATUS:
            return self._component_status(request, kind, path)
        if not kind.stored:
            return await self._review(request, kind, path, user)
        if path.subresource == "proxy":
            return await self._proxy.handle(request, kind, path)
        if path.subresource in STREAMED and kind.kind == "Pod":
            return await self._streams.handle(request, path)
        if not path.name:
            return await self._collection(request, kind, path, user)
        if path.subresource:
            return await self._subresource(request, kind, path)
        return await self._object(request, kind, path)

    async def _collection(self, request: web.Request, kind: Kind, path: ResourcePath, user: User) -> web.StreamResponse:
        match request.method:
            case "GET" if is_true(request.query.get("watch")):
                options = WatchOptions.parse(request.query)
                seconds = self._write_seconds
                return await stream_watch(
                    self._api, request, kind, path.namespace, options=options, write_seconds=seconds
                )  # fmt: skip
            case "GET":
                listing = self._api.verbs.list(kind, path.namespace, ListOptions.parse(request.query))
                return self._rendered_list(request, kind, listing)
            case "POST":
                if kind.namespaced and not path.namespace:
                    raise BadRequest("an empty namespace may not be set during creation")
                write_options = _write_options(request)
                body = await self._body(request)
                if kind.rules == "CertificateSigningRequest":
                    body = requested_by(user, body)
                answer = await self._api.verbs.create(kind, path.namespace, body, write_options)
                return self._answer(request, kind, answer)
            case "DELETE":
                deletion = DeleteOptions.parse(request.query, await self._body(request))
                listing_options = ListOptions.parse(request.query)
                deleted = await self._api.deletion.delete_collection(kind, path.namespace, listing_options, deletion)
                meta = {"resourceVersion": str(self._api.backend.revision)}
                listing = {"kind": kind.list_kind, "apiVersion": kind.api_version, "metadata": meta}
                return json_response({**listing, "items": deleted})
        raise _not_allowed()

    async def _object(self, request: web.Request, kind: Kind, path: ResourcePath) -> web.StreamResponse:
        verbs = self._api.verbs
        match request.method:
            case "GET" if is_true(request.query.get("watch")):
                raise BadRequest("watch a collection with fieldSelector=metadata.name=… instead of a single object")
            case "GET":
                return self._answer(request, kind, Answer(verbs.get(kind, path.namespace, path.name)))
            case "PUT" | "PATCH":
                return self._answer(request, kind, await self._write(request, kind, path))
            case "DELETE":
                options = DeleteOptions.parse(request.query, await self._body(request))
                deleted = await self._api.deletion.delete(kind, path.namespace, path.name, options)
                return json_response(_deletion_answer(kind, deleted))
        raise _not_allowed()

    async def _write(self, request: web.Request, kind: Kind, path: ResourcePath) -> Answer:
        """PUT or PATCH of an object, of its status or of its ephemeral containers."""
        verbs, options = self._api.verbs, _write_options(request)
        if request.method == "PUT":
            body = await self._body(request)
            return await verbs.update(
                kind, path.namespace, path.name, body=body, options=options, subresource=path.subresource
            )
        patch, patch_type = await self._patch(request)
        if patch_type == "apply":
            return await verbs.apply(
                kind, path.namespace, path.name, body=patch, options=options, subresource=path.subresource
            )
        return await verbs.patch(
            kind, path.namespace, path.name,
            body=patch, patch_type=patch_type, options=options, subresource=path.subresource,
        )  # fmt: skip

    async def _subresource(self, request: web.Request, kind: Kind, path: ResourcePath) -> web.StreamResponse:
        own, namespace, name = self._api.subresources, path.namespace, path.name
        match path.subresource, request.method:
            case "status", "GET" if kind.status:
                return self._answer(request, kind, Answer(self._api.verbs.get(kind, namespace, name)))
            case "status", "PUT" | "PATCH" if kind.status:
                return self._answer(request, kind, await self._write(request, kind, path))
            case "ephemeralcontainers", "GET" if kind.kind == "Pod":
                return self._answer(request, kind, Answer(self._api.verbs.get(kind, namespace, name)))
            case "ephemeralcontainers", "PUT" | "PATCH" if kind.kind == "Pod":
                return self._answer(request, kind, await self._write(request, kind, path))
            case "scale", "GET" if kind.scale:
                return json_response(own.scale(kind, namespace, name))
            case "scale", "PUT" if kind.scale:
                options = _write_options(request)
                body = await self._body(request)
                return json_response(await own.update_scale(kind, namespace, name, body=body, options=options))
            case "scale", "PATCH" if kind.scale:
                patch, patch_type = await self._patch(request)
                options = _write_options(request)
                scale = await own.patch_scale(kind, namespace, name, body=patch, patch_type=patch_type, options=options)
                return json_response(scale)
            case "binding", "POST" if kind.kind == "Pod":
                return json_response(await own.bind(kind, namespace, name, await self._body(request)), status=201)
            case "eviction", "POST" if kind.kind == "Pod":
                return json_response(await own.evict(kind, namespace, name, await self._body(request)), status=201)
            case "approval", "GET" | "PUT" | "PATCH" if kind.rules == "CertificateSigningRequest":
                path = dataclasses.replace(path, subresource="status")
                return await (self._object if request.method == "GET" else self._subresource)(request, kind, path)
            case "token", "POST" if kind.rules == "ServiceAccount":
                account = self._api.verbs.get(kind, namespace, name)
                token_request = await self._body(request)
                if not isinstance(token_request, dict):
                    raise BadRequest("the body is not a TokenRequest")
                return json_response(self._authenticator.issuer.issue(account, token_request), status=201)
            case "finalize", "PUT" if kind.kind == "Namespace":
                return json_response(await own.finalize_namespace(kind, name, await self._body(request)))
        raise NotFound("the server could not find the requested resource")

    async def _measured(self, request: web.Request, kind: Kind, path: ResourcePath) -> web.Response:
        if request.method != "GET" or path.subresource or is_true(request.query.get("watch")):
            raise _not_allowed()
        if path.name:
            return self._answer(request, kind, Answer(await self._metrics.get(kind, path.namespace, path.name)))
        listing = await self._metrics.listing(kind, path.namespace, ListOptions.parse(request.query))
        return self._rendered_list(request, kind, listing)

    def _component_status(self, request: web.Request, kind: Kind, path: ResourcePath) -> web.Response:
        if request.method != "GET" or path.subresource or is_true(request.query.get("watch")):
            raise _not_allowed()
        if path.name:
            answer = Answer(component_status(kind, path.name), warnings=[DEPRECATION])
            return self._answer(request, kind, answer)
        response = self._rendered_list(request, kind, component_statuses(kind, ListOptions.parse(request.query)))
        return _warned(response, [DEPRECATION])

    async def _review(self, request: web.Request, kind: Kind, path: ResourcePath, user: User) -> web.Response:
        if request.method != "POST" or path.name:
            raise _not_allowed()
        options = _write_options(request)
        body = await self._body(request)
        review, _ = decode(kind, body, schemas=self._api.schemas, field_validation=options.field_validation)
        return json_response(self._reviews.answer(kind, review, user), status=201)

    async def _body(self, request: web.Request) -> Any:
        return parse_body(await self._raw_body(request), request.headers.get("Content-Type", ""))

    async def _patch(self, request: web.Request) -> tuple[Any, str]:
        return parse_patch(await self._raw_body(request), request.headers.get("Content-Type", ""))

    async def _raw_body(self, request: web.Request) -> bytes:
        try:
            async with asyncio.timeout(READ_SECONDS):
                return await request.read()
        except TimeoutError:
            raise BadRequest(f"the body did not arrive within {READ_SECONDS:.0f} s") from None

    def _rendered_list(self, request: web.Request, kind: Kind, listing: Object) -> web.Response:
        form, include = form_of(request.headers.get("Accept", "")), request.query.get("includeObject", "")
        return json_response(render_list(kind, listing, form=form, include=include, now=self._api.clock.now()))

    def _answer(self, request: web.Request, kind: Kind, answer: Answer) -> web.Response:
        form, include = form_of(request.headers.get("Accept", "")), request.query.get("includeObject", "")
        shown = render_object(kind, answer.object, form=form, include=include, now=self._api.clock.now())
        return _warned(json_response(shown, status=201 if answer.created else 200), answer.warnings)


def _warned(response: web.Response, warnings: Iterable[str]) -> web.Response:
    for warning in warnings:
        quoted = warning.replace("\\", "\\\\").replace('"', '\\"')
        response.headers.add("Warning", f'299 - "{quoted}"')
    return response


def _deletion_answer(kind: Kind, deleted: Object) -> Object:
    """The object, or a Status that names it; the Status tells the deletion's revision too."""
    if kind.kind in RETURNS_OBJECT:
        return deleted
    meta = deleted["metadata"]
    details = {"name": meta["name"], "group": kind.group, "kind": kind.plural, "uid": meta["uid"]}
    return {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {"resourceVersion": meta["resourceVersion"]},
        "status": "Success",
        "details": {name: value for name, value in details.items() if value},
    }


def _write_options(request: web.Request) -> WriteOptions:
    return WriteOptions.parse(request.query, request.headers.get("User-Agent", ""))


def _not_allowed() -> MethodNotAllowed:
    return MethodNotAllowed("the server does not allow this method on the requested resource")


def _status_response(error: ApiError) -> web.Response:
    response = json_response(error.to_status(), status=error.code)
    if seconds := error.details.get("retryAfterSeconds"):
        response.headers["Retry-After"] = str(seconds)
    return response
