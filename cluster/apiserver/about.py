"""Everything that the API server answers about itself: version, health, discovery, OpenAPI."""

from __future__ import annotations

from typing import Any

import orjson
from aiohttp import web

from petset.cluster.api.kinds import Registry
from petset.cluster.api.release import RELEASE
from petset.cluster.api.schema import Schemas
from petset.cluster.apiserver import discovery
from petset.cluster.apiserver.health import health
from petset.cluster.apiserver.openapi import V2_DOCUMENT, V2_TYPE, OpenApi
from petset.cluster.errors import NotFound

OPEN_PATHS = ("/healthz", "/livez", "/readyz", "/version")
"""Answered to everybody."""
PATHS = ("/api", "/api/v1", "/apis", "/healthz", "/metrics", "/openapi/v3", "/version")

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


class About:
    """The answers for one registry."""

    def __init__(self, registry: Registry, schemas: Schemas) -> None:
        self._registry = registry
        self._open_api = OpenApi(registry, schemas)

    def answer(self, request: web.Request, path: str) -> web.Response:
        """The answer for a path that names no resource. Raises NotFound."""
        registry, accept = self._registry, request.headers.get("Accept", "")
        parts = path.strip("/").split("/")
        match parts:
            case ["version"]:
                return json_response(VERSION)
            case ["healthz" | "livez" | "readyz" as endpoint, *check]:
                is_verbose, excluded = "verbose" in request.query, request.query.getall("exclude", [])
                return web.Response(text=health(endpoint, "/".join(check), is_verbose=is_verbose, excluded=excluded))
            case ["api" | "apis"] if "as=APIGroupDiscoveryList" in accept and "v=v2," in accept + ",":
                body = orjson.dumps(discovery.aggregated(registry, core=parts == ["api"]))
                return web.Response(body=body, headers={"Content-Type": discovery.AGGREGATED_TYPE})
            case ["api"]:
                return json_response(discovery.core_versions(request.host))
            case ["apis"]:
                return json_response(discovery.group_list(registry))
            case ["api", version]:
                return _found(discovery.resource_list(registry, "", version))
            case ["apis", name]:
                return _found(discovery.group(registry, name))
            case ["apis", name, version]:
                return _found(discovery.resource_list(registry, name, version))
            case ["openapi", "v2"]:
                return web.Response(body=V2_DOCUMENT, headers={"Content-Type": V2_TYPE})
            case ["openapi", "v3"]:
                return json_response(self._open_api.index())
            case ["openapi", "v3", *name]:
                return web.Response(body=self._open_api.document("/".join(name)), content_type="application/json")
            case [""]:
                return json_response({"paths": PATHS})
        raise NotFound("the server could not find the requested resource")


def json_response(value: Any, *, status: int = 200) -> web.Response:
    return web.Response(body=orjson.dumps(value), status=status, content_type="application/json")


def _found(value: Any) -> web.Response:
    if value is None:
        raise NotFound("the server could not find the requested resource")
    return json_response(value)
