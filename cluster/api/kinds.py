"""The registry: one row per kind that the API serves. Everything generic is driven from it.

Paths, discovery, subresources and generation rules come from these rows; schemas and patch strategies come from the
official definitions (schema.py). Adding a kind is adding a row; there is no handler per kind.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from petset.cluster.errors import NotFound


@dataclass(frozen=True)
class Kind:
    """One served kind. `generation` says whether a change of spec counts `metadata.generation` up.

    `status` and `scale` name the subresources it has; `others` lists further ones, which have code of their own.
    """

    group: str
    version: str
    kind: str
    plural: str
    short_names: tuple[str, ...] = ()
    namespaced: bool = True
    status: bool = False
    scale: bool = False
    generation: bool = False
    others: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def singular(self) -> str:
        return self.kind.lower()

    @property
    def resource(self) -> str:
        """`plural.group`, as errors and the store name it (`pods` in the core group)."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    @property
    def root(self) -> str:
        """The path of the group and version."""
        return f"/apis/{self.api_version}" if self.group else f"/api/{self.version}"

    def path(self, namespace: str = "", name: str = "", subresource: str = "") -> str:
        """The URL path of a collection, an object or a subresource."""
        parts = [self.root]
        if self.namespaced and namespace:
            parts += ["namespaces", namespace]
        parts += [part for part in (self.plural, name, subresource) if part]
        return "/".join(parts)


ALL = ("all",)

BUILT_IN: tuple[Kind, ...] = (
    Kind("", "v1", "Namespace", "namespaces", ("ns",), namespaced=False, status=True, others=("finalize",)),
    Kind("", "v1", "Node", "nodes", ("no",), namespaced=False, status=True),
    Kind("", "v1", "Pod", "pods", ("po",), status=True, generation=True, categories=ALL,
         others=("binding", "eviction", "proxy")),
    Kind("", "v1", "Service", "services", ("svc",), status=True, others=("proxy",), categories=ALL),
    Kind("", "v1", "Endpoints", "endpoints", ("ep",)),
    Kind("", "v1", "PersistentVolume", "persistentvolumes", ("pv",), namespaced=False, status=True),
    Kind("", "v1", "PersistentVolumeClaim", "persistentvolumeclaims", ("pvc",), status=True),
    Kind("", "v1", "ConfigMap", "configmaps", ("cm",)),
    Kind("", "v1", "Secret", "secrets"),
    Kind("", "v1", "ServiceAccount", "serviceaccounts", ("sa",)),
    Kind("", "v1", "Event", "events", ("ev",)),
    Kind("apps", "v1", "StatefulSet", "statefulsets", ("sts",), status=True, scale=True, generation=True,
         categories=ALL),
    Kind("apps", "v1", "ControllerRevision", "controllerrevisions"),
    Kind("coordination.k8s.io", "v1", "Lease", "leases"),
    Kind("discovery.k8s.io", "v1", "EndpointSlice", "endpointslices", generation=True),
    Kind("storage.k8s.io", "v1", "StorageClass", "storageclasses", ("sc",), namespaced=False),
)  # fmt: skip


class Registry:
    """Finds rows by kind, by path and by group. The order of rows is the order of discovery."""

    def __init__(self, kinds: Iterable[Kind] = BUILT_IN) -> None:
        self.kinds = tuple(kinds)
        self._by_kind = {kind.kind: kind for kind in self.kinds}
        self._by_path = {(kind.group, kind.version, kind.plural): kind for kind in self.kinds}

    def of_kind(self, kind: str) -> Kind:
        """The row of a kind, e.g. `"Pod"`. Raises NotFound."""
        if found := self._by_kind.get(kind):
            return found
        raise NotFound(f'no matches for kind "{kind}"')

    def at_path(self, group: str, version: str, plural: str) -> Kind:
        """The row of a path's group, version and plural. Raises NotFound as Kubernetes words it."""
        if found := self._by_path.get((group, version, plural)):
            return found
        raise NotFound("the server could not find the requested resource")

    def group_versions(self) -> list[tuple[str, str]]:
        """Every (group, version), the core group first, without repetition."""
        return list(dict.fromkeys((kind.group, kind.version) for kind in self.kinds))
