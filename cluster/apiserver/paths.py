"""From a URL path to what it names. Pure; every way that a path can be wrong is a NotFound.

/api/v1/namespaces/NS/pods/NAME/proxy/rest…    /apis/apps/v1/namespaces/NS/statefulsets/NAME/scale
/api/v1/namespaces/NAME/finalize               /apis/storage.k8s.io/v1/storageclasses
"""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import unquote

from petset.cluster.errors import NotFound

_NAMESPACE_SUBRESOURCES = ("status", "finalize")


@dataclass(frozen=True)
class ResourcePath:
    """`rest` is what follows a proxy subresource, with its leading slash; `bare_proxy` says there was not even that."""

    group: str
    version: str
    namespace: str
    plural: str
    name: str
    subresource: str
    rest: str = ""
    bare_proxy: bool = False


def parse_path(raw_path: str) -> ResourcePath | None:
    """The resource that a raw (still percent-encoded) path names; None when it is not a resource path at all."""
    parts = raw_path.split("/")[1:]
    if parts and parts[0] == "api" and len(parts) >= 3:
        group, version, tail = "", parts[1], parts[2:]
    elif parts and parts[0] == "apis" and len(parts) >= 4:
        group, version, tail = parts[1], parts[2], parts[3:]
    else:
        return None
    if len(tail) == 1 and tail[0] == "":
        return None
    return _parse_tail(group, version, tail)


def _parse_tail(group: str, version: str, tail: list[str]) -> ResourcePath:
    namespace = ""
    if tail[0] == "namespaces" and len(tail) >= 3 and tail[2] and not _names_namespace(tail):
        namespace, tail = unquote(tail[1]), tail[2:]
    plural, name, subresource = (unquote(part) for part in (*tail, "", "", "")[:3])
    if subresource == "proxy":
        bare = len(tail) == 3
        return ResourcePath(group, version, namespace, plural, name, subresource, "/" + "/".join(tail[3:]), bare)
    while tail and tail[-1] == "":
        tail = tail[:-1]
    if len(tail) > 3 or not plural:
        raise NotFound("the server could not find the requested resource")
    return ResourcePath(group, version, namespace, plural, name, subresource)


def _names_namespace(tail: list[str]) -> bool:
    """`namespaces/x/status` is a subresource of a namespace, `namespaces/x/pods` a collection in it."""
    return len(tail) == 3 and tail[2] in _NAMESPACE_SUBRESOURCES
