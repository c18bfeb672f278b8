"""Discovery: which groups, versions and resources there are, in the aggregated and in the legacy form.

Both are rendered from the registry. kubectl asks for the aggregated form, every other client for the legacy one; the
answer's Content-Type is what tells kubectl which it got (wire.md section 1).
"""

from __future__ import annotations

from typing import Any

from petset.cluster.api.kinds import Kind, Registry

AGGREGATED_TYPE = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"

VERBS = ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"]
_STATUS_VERBS = ["get", "patch", "update"]
_REVIEW_VERBS = ["create"]
_STREAM_VERBS = ["create", "get"]
_OTHER_VERBS = {
    "approval": _STATUS_VERBS,
    "attach": _STREAM_VERBS,
    "ephemeralcontainers": _STATUS_VERBS,
    "exec": _STREAM_VERBS,
    "finalize": ["update"],
    "log": ["get"],
    "portforward": _STREAM_VERBS,
    "proxy": ["create", "delete", "get", "patch", "update"],
}
_OTHER_KINDS = {
    "attach": ("", "v1", "PodAttachOptions"),
    "exec": ("", "v1", "PodExecOptions"),
    "portforward": ("", "v1", "PodPortForwardOptions"),
    "binding": ("", "v1", "Binding"),
    "eviction": ("policy", "v1", "Eviction"),
    "token": ("authentication.k8s.io", "v1", "TokenRequest"),
}


def aggregated(registry: Registry, *, core: bool) -> dict[str, Any]:
    """`APIGroupDiscoveryList` for `/api` (core) or `/apis`."""
    items = []
    for group in dict.fromkeys(group for group, _ in registry.group_versions() if (group == "") == core):
        versions = [
            {
                "version": version,
                "freshness": "Current",
                "resources": [_aggregated_resource(kind) for kind in _kinds(registry, group, version)],
            }
            for other, version in registry.group_versions()
            if other == group
        ]
        items.append({"metadata": {"name": group} if group else {}, "versions": versions})
    return {"kind": "APIGroupDiscoveryList", "apiVersion": "apidiscovery.k8s.io/v2", "metadata": {}, "items": items}


def core_versions(server: str) -> dict[str, Any]:
    """`APIVersions`, the legacy `/api`."""
    addresses = [{"clientCIDR": "0.0.0.0/0", "serverAddress": server}]
    return {"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": addresses}


def group_list(registry: Registry) -> dict[str, Any]:
    """`APIGroupList`, the legacy `/apis`."""
    names = dict.fromkeys(group for group, _ in registry.group_versions() if group)
    return {"kind": "APIGroupList", "apiVersion": "v1", "groups": [_group(registry, name) for name in names]}


def group(registry: Registry, name: str) -> dict[str, Any] | None:
    """`APIGroup` for `/apis/NAME`; None when there is none."""
    if not any(other == name for other, _ in registry.group_versions()):
        return None
    return {"kind": "APIGroup", "apiVersion": "v1", **_group(registry, name)}


def resource_list(registry: Registry, group: str, version: str) -> dict[str, Any] | None:
    """`APIResourceList` for `/api/v1` or `/apis/GROUP/VERSION`; None when there is none."""
    kinds = _kinds(registry, group, version)
    if not kinds:
        return None
    resources = [row for kind in kinds for row in _legacy_resources(kind)]
    group_version = f"{group}/{version}" if group else version
    return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": group_version, "resources": resources}


def _kinds(registry: Registry, group: str, version: str) -> list[Kind]:
    return [kind for kind in registry.kinds if (kind.group, kind.version) == (group, version)]


def _group(registry: Registry, name: str) -> dict[str, Any]:
    versions = [
        {"groupVersion": f"{name}/{version}", "version": version}
        for other, version in registry.group_versions()
        if other == name
    ]
    return {"name": name, "versions": versions, "preferredVersion": versions[0]}


def _verbs(kind: Kind) -> list[str]:
    return list(kind.verbs) or (VERBS if kind.stored else _REVIEW_VERBS)


def _subresources(kind: Kind) -> list[tuple[str, tuple[str, str, str], list[str]]]:
    """(subresource, (group, version, kind) of its body, verbs)."""
    own = (kind.group, kind.version, kind.kind)
    found: list[tuple[str, tuple[str, str, str], list[str]]] = []
    if kind.status:
        found.append(("status", own, _STATUS_VERBS))
    if kind.scale:
        found.append(("scale", ("autoscaling", "v1", "Scale"), _STATUS_VERBS))
    for name in kind.others:
        found.append((name, _OTHER_KINDS.get(name, own), _OTHER_VERBS.get(name, ["create"])))
    return found


def _aggregated_resource(kind: Kind) -> dict[str, Any]:
    resource: dict[str, Any] = {
        "resource": kind.plural,
        "responseKind": {"group": kind.group, "version": kind.version, "kind": kind.kind},
        "scope": "Namespaced" if kind.namespaced else "Cluster",
        "singularResource": kind.singular,
        "verbs": _verbs(kind),
    }
    if kind.short_names:
        resource["shortNames"] = list(kind.short_names)
    if kind.categories:
        resource["categories"] = list(kind.categories)
    if subresources := _subresources(kind):
        resource["subresources"] = [
            {
                "subresource": name,
                "responseKind": {"group": group, "version": version, "kind": body_kind},
                "verbs": verbs,
            }
            for name, (group, version, body_kind), verbs in subresources
        ]
    return resource


def _legacy_resources(kind: Kind) -> list[dict[str, Any]]:
    main: dict[str, Any] = {
        "name": kind.plural,
        "singularName": kind.singular,
        "namespaced": kind.namespaced,
        "kind": kind.kind,
        "verbs": _verbs(kind),
    }
    if kind.short_names:
        main["shortNames"] = list(kind.short_names)
    if kind.categories:
        main["categories"] = list(kind.categories)
    rows = [main]
    for name, (group, version, body_kind), verbs in _subresources(kind):
        row: dict[str, Any] = {
            "name": f"{kind.plural}/{name}",
            "singularName": "",
            "namespaced": kind.namespaced,
            "kind": body_kind,
            "verbs": verbs,
        }
        if (group, version) != (kind.group, kind.version):
            row |= {"group": group, "version": version}
        rows.append(row)
    return rows
