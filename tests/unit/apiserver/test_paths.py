"""URL paths: what they name, and that nonsense names nothing."""

from __future__ import annotations

import pytest

from petset.cluster.apiserver.paths import ResourcePath, parse_path
from petset.cluster.errors import NotFound

PATHS = {
    "core collection": ("/api/v1/pods", ("", "v1", "", "pods", "", "")),
    "core in a namespace": ("/api/v1/namespaces/default/pods", ("", "v1", "default", "pods", "", "")),
    "object": ("/api/v1/namespaces/default/pods/kubia-0", ("", "v1", "default", "pods", "kubia-0", "")),
    "group": ("/apis/apps/v1/namespaces/a/statefulsets/b/scale", ("apps", "v1", "a", "statefulsets", "b", "scale")),
    "namespaces": ("/api/v1/namespaces", ("", "v1", "", "namespaces", "", "")),
    "one namespace": ("/api/v1/namespaces/x", ("", "v1", "", "namespaces", "x", "")),
    "a namespace's subresource": ("/api/v1/namespaces/x/finalize", ("", "v1", "", "namespaces", "x", "finalize")),
    "trailing slash": ("/api/v1/nodes/", ("", "v1", "", "nodes", "", "")),
    "encoded name": ("/api/v1/namespaces/a/pods/b%3A80", ("", "v1", "a", "pods", "b:80", "")),
}


@pytest.mark.parametrize(("raw", "expected"), PATHS.values(), ids=PATHS)
def test_path_names(raw: str, expected: tuple[str, str, str, str, str, str]) -> None:
    assert parse_path(raw) == ResourcePath(*expected)


PROXIES = {
    "root": ("/api/v1/namespaces/d/pods/kubia-0/proxy/", "/", False),
    "bare": ("/api/v1/namespaces/d/pods/kubia-0/proxy", "/", True),
    "deep": ("/api/v1/namespaces/d/services/kubia/proxy/a/b%2Fc/", "/a/b%2Fc/", False),
}


@pytest.mark.parametrize(("raw", "rest", "bare"), PROXIES.values(), ids=PROXIES)
def test_proxy_keeps_the_rest_as_it_was_sent(raw: str, rest: str, bare: bool) -> None:
    path = parse_path(raw)
    assert path is not None
    assert (path.subresource, path.rest, path.bare_proxy) == ("proxy", rest, bare)


@pytest.mark.parametrize("raw", ["/", "/api", "/api/v1", "/apis/apps/v1", "/version", "/openapi/v3", "/api/v1/"])
def test_not_a_resource(raw: str) -> None:
    assert parse_path(raw) is None


@pytest.mark.parametrize("raw", ["/api/v1/namespaces/a/pods/b/status/more", "/apis/apps/v1//x/y", "/api/v1//pods"])
def test_nonsense_is_not_found(raw: str) -> None:
    with pytest.raises(NotFound):
        parse_path(raw)
