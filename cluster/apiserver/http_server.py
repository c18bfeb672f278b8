"""Bytes to verbs and back: the only HTTP server of the API.

    request ─▶ who (authentication.py) ─▶ what (paths.py, registry) ─▶ verb ─▶ form (rendering.py) ─▶ JSON
                                              └─ proxy subresource ─▶ proxy.py streams it

Every error is a Kubernetes Status; an unexpected one is logged here and answered without its traceback. Bounds: bodies
of MAX_BODY_BYTES; a watcher that does not read is dropped by the store's bounded queue and must list again.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import orjson
from aiohttp import web

from petset.cluster.api.kinds import Kind
from petset.cluster.api.objects import Object
from petset.cluster.api.schema import RELEASE
from petset.cluster.apiserver import discovery
from petset.cluster.apiserver.api import Api
from petset.cluster.apiserver.authentication import TokenAuthenticator
from petset.cluster.apiserver.bodies import MAX_BODY_BYTES, parse_body, parse_patch
from petset.cluster.apiserver.deletion import RETURNS_OBJECT
from petset.cluster.apiserver.openapi import V2_DOCUMENT, V2_TYPE, OpenApi
from petset.cluster.apiserver.options import DeleteOptions, ListOptions, WatchOptions, WriteOptions, is_true
from petset.cluster.apiserver.paths import ResourcePath, parse_path
from petset.cluster.apiserver.proxy import PodProxy
from petset.cluster.apiserver.rendering import form_of, render_event, render_list, render_object
from petset.cluster.apiserver.verbs import Answer
from petset.cluster.apiserver.watch import watching
from petset.cluster.errors import ApiError, BadRequest, Expired, InternalError, MethodNotAllowed, NotFound, TooLarge

log = logging.getLogger(__name__)

_OPEN_PATHS = ("/healthz", "/livez", "/readyz", "/version")
VERSION: dict[str, str] = {
    "major": RELEASE.split(".")[0],
    "minor": RELEASE.split(".")[1],
    "gitVersion": f"v{RELEASE}+petset",
    "gitCommit": "",
    "gitTreeState": "clean",
    "buildDate": "2026-01-01T00:00:00Z",
    "goVersion": "none",
    "compiler": "cpython",
    "platform": "linux/amd64",
}


class HttpServer:
    """The aiohttp application of one API. `application()` makes it; running it is the caller's."""

    def __init__(self, api: Api, *, authenticator: TokenAuthenticator, proxy: PodProxy) -> None:
        self._api = api
        self._authenticator = authenticator
        self._proxy = proxy
        self._open_api = OpenApi(api.registry, api.schemas)

    def application(self) -> web.Application:
        app = web.Application(client_max_size=MAX_BODY_BYTES)
        app.router.add_route("*", "/{path:.*}", self._handle)
        return app

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        try:
            return await self._route(request)
        except ApiError as error:
            return _status_response(error)
        except web.HTTPRequestEntityTooLarge:
            limit = f"limit is {MAX_BODY_BYTES}"
            return _status_response(TooLarge(f"Request entity too large: {limit}"))
        except (ConnectionError, asyncio.CancelledError):
            raise
        except Exception:
            # The last line of defence: whatever slipped through is our bug, and no client may see its traceback.
            log.exception("%s %s failed", request.method, request.path)
            return _status_response(InternalError("Internal error occurred: see the API server's log"))

    async def _route(self, request: web.Request) -> web.StreamResponse:
        raw_path = request.rel_url.raw_path
        if raw_path.rstrip("/") not in _OPEN_PATHS:
            self._authenticator.authenticate(request.headers.get("Authorization", ""))
        path = parse_path(raw_path)
        if path is None:
            return self._about(request, raw_path.rstrip("/"))
        if path.version == "" or not path.plural:
            raise NotFound("the server could not find the requested resource")
        kind = self._api.registry.at_path(path.group, path.version, path.plural)
        if path.namespace and not kind.namespaced:
            raise NotFound("the server could not find the requested resource")
        if path.subresource == "proxy":
            return await self._proxy.handle(request, kind, path)
        if not path.name:
            return await self._collection(request, kind, path)
        if path.subresource:
            return await self._subresource(request, kind, path)
        return await self._object(request, kind, path)

    def _about(self, request: web.Request, path: str) -> web.Response:
        """Everything that is not a resource: version, health, discovery, OpenAPI."""
        registry, accept = self._api.registry, request.headers.get("Accept", "")
        parts = path.strip("/").split("/")
        match parts:
            case ["version"]:
                return _json(VERSION)
            case ["healthz" | "livez" | "readyz", *_]:
                return web.Response(text="ok")
            case ["api" | "apis"] if "as=APIGroupDiscoveryList" in accept and "v=v2," in accept + ",":
                body = orjson.dumps(discovery.aggregated(registry, core=parts == ["api"]))
                return web.Response(body=body, headers={"Content-Type": discovery.AGGREGATED_TYPE})
            case ["api"]:
                return _json(discovery.core_versions(request.host))
            case ["apis"]:
                return _json(discovery.group_list(registry))
            case ["api", version]:
                return _json_or_404(discovery.resource_list(registry, "", version))
            case ["apis", name]:
                return _json_or_404(discovery.group(registry, name))
            case ["apis", name, version]:
                return _json_or_404(discovery.resource_list(registry, name, version))
            case ["openapi", "v2"]:
                return web.Response(body=V2_DOCUMENT, headers={"Content-Type": V2_TYPE})
            case ["openapi", "v3"]:
                return _json(self._open_api.index())
            case ["openapi", "v3", *name]:
                return web.Response(body=self._open_api.document("/".join(name)), content_type="application/json")
            case [""]:
                return _json({"paths": ["/api", "/api/v1", "/apis", "/healthz", "/openapi/v3", "/version"]})
        raise NotFound("the server could not find the requested resource")

    async def _collection(self, request: web.Request, kind: Kind, path: ResourcePath) -> web.StreamResponse:
        match request.method:
            case "GET" if is_true(request.query.get("watch")):
                return await self._watch(request, kind, path.namespace, WatchOptions.parse(request.query))
            case "GET":
                listing = self._api.verbs.list(kind, path.namespace, ListOptions.parse(request.query))
                return self._rendered_list(request, kind, listing)
            case "POST":
                if kind.namespaced and not path.namespace:
                    raise BadRequest("an empty namespace may not be set during creation")
                options = WriteOptions.parse(request.query)
                body = await self._body(request)
                return self._answer(request, kind, await self._api.verbs.create(kind, path.namespace, body, options))
            case "DELETE":
                deletion = DeleteOptions.parse(request.query, await self._body(request))
                listing_options = ListOptions.parse(request.query)
                deleted = await self._api.deletion.delete_collection(kind, path.namespace, listing_options, deletion)
                meta = {"resourceVersion": str(self._api.backend.revision)}
                listing = {"kind": f"{kind.kind}List", "apiVersion": kind.api_version, "metadata": meta}
                return _json({**listing, "items": deleted})
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
                return _json(_deletion_answer(kind, deleted))
        raise _not_allowed()

    async def _write(self, request: web.Request, kind: Kind, path: ResourcePath) -> Answer:
        """PUT or PATCH of an object or of its status."""
        verbs, options = self._api.verbs, WriteOptions.parse(request.query)
        if request.method == "PUT":
            body = await self._body(request)
            return await verbs.update(
                kind, path.namespace, path.name, body=body, options=options, subresource=path.subresource
            )
        patch, patch_type = parse_patch(await request.read(), request.headers.get("Content-Type", ""))
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
            case "scale", "GET" if kind.scale:
                return _json(own.scale(kind, namespace, name))
            case "scale", "PUT" if kind.scale:
                options = WriteOptions.parse(request.query)
                body = await self._body(request)
                return _json(await own.update_scale(kind, namespace, name, body=body, options=options))
            case "scale", "PATCH" if kind.scale:
                patch, patch_type = parse_patch(await request.read(), request.headers.get("Content-Type", ""))
                options = WriteOptions.parse(request.query)
                scale = await own.patch_scale(kind, namespace, name, body=patch, patch_type=patch_type, options=options)
                return _json(scale)
            case "binding", "POST" if kind.kind == "Pod":
                return _json(await own.bind(kind, namespace, name, await self._body(request)), status=201)
            case "eviction", "POST" if kind.kind == "Pod":
                return _json(await own.evict(kind, namespace, name, await self._body(request)), status=201)
            case "finalize", "PUT" if kind.kind == "Namespace":
                return _json(await own.finalize_namespace(kind, name, await self._body(request)))
        raise NotFound("the server could not find the requested resource")

    async def _watch(
        self, request: web.Request, kind: Kind, namespace: str, options: WatchOptions
    ) -> web.StreamResponse:
        """A chunked stream of one JSON event per line, until the client leaves, time is up or history is lost."""
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        try:
            with watching(self._api.backend, kind, namespace, options) as events:
                await response.prepare(request)
                form, include = form_of(request.headers.get("Accept", "")), request.query.get("includeObject", "")
                first = True
                async with asyncio.timeout(options.timeout_seconds):
                    async for event in events:
                        now = self._api.clock.now()
                        shown = render_event(kind, event, form=form, include=include, now=now, first=first)
                        await response.write(orjson.dumps(shown) + b"\n")
                        first = first and event.type == "BOOKMARK"
        except TimeoutError:
            pass
        except Expired as error:
            await response.prepare(request)
            await response.write(orjson.dumps({"type": "ERROR", "object": error.to_status()}) + b"\n")
        await response.write_eof()
        return response

    async def _body(self, request: web.Request) -> Any:
        return parse_body(await request.read(), request.headers.get("Content-Type", ""))

    def _rendered_list(self, request: web.Request, kind: Kind, listing: Object) -> web.Response:
        form, include = form_of(request.headers.get("Accept", "")), request.query.get("includeObject", "")
        return _json(render_list(kind, listing, form=form, include=include, now=self._api.clock.now()))

    def _answer(self, request: web.Request, kind: Kind, answer: Answer) -> web.Response:
        form, include = form_of(request.headers.get("Accept", "")), request.query.get("includeObject", "")
        shown = render_object(kind, answer.object, form=form, include=include, now=self._api.clock.now())
        response = _json(shown, status=201 if answer.created else 200)
        for warning in answer.warnings:
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


def _not_allowed() -> MethodNotAllowed:
    return MethodNotAllowed("the server does not allow this method on the requested resource")


def _json(value: Any, *, status: int = 200) -> web.Response:
    return web.Response(body=orjson.dumps(value), status=status, content_type="application/json")


def _json_or_404(value: Any) -> web.Response:
    if value is None:
        raise NotFound("the server could not find the requested resource")
    return _json(value)


def _status_response(error: ApiError) -> web.Response:
    response = _json(error.to_status(), status=error.code)
    if seconds := error.details.get("retryAfterSeconds"):
        response.headers["Retry-After"] = str(seconds)
    return response
