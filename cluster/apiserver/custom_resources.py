"""CustomResourceDefinitions at work: the rows that they add to the registry, and how their objects end with them.

    create a definition ─▶ admission: names accepted, Established ─▶ its kinds are served from the next request on
    delete a definition ─▶ its finalizer holds it ─▶ its objects are deleted ─▶ the last one gone ─▶ it goes, too

Rows are derived from what is stored, whenever they are asked for, so there is nothing to keep in step and nothing to
restore after a restart; a definition that has not changed is not derived again.
"""

from __future__ import annotations

from petset.cluster.api.custom_kinds import CustomKind, ScalePaths
from petset.cluster.api.custom_schema import CustomSchema
from petset.cluster.api.kinds import Kind
from petset.cluster.api.objects import Object, condition_is_true, is_terminating, uid_of
from petset.cluster.errors import MethodNotAllowed
from petset.cluster.store.backend import Backend, StoreKey

DEFINITIONS = "customresourcedefinitions.apiextensions.k8s.io"
CLEANUP_FINALIZER = "customresourcecleanup.apiextensions.k8s.io"


class CustomRows:
    """Called, it answers the rows of every established definition, by name."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._known: dict[str, tuple[tuple[str, int], tuple[Kind, ...]]] = {}

    def __call__(self) -> tuple[Kind, ...]:
        definitions = self._backend.objects(DEFINITIONS)
        if not definitions and not self._known:
            return ()
        self._known = {each["metadata"]["name"]: self._derived(each) for each in definitions}
        return tuple(row for _, rows in self._known.values() for row in rows)

    def _derived(self, definition: Object) -> tuple[tuple[str, int], tuple[Kind, ...]]:
        state = (uid_of(definition), int(definition["metadata"].get("generation", 0)))
        known = self._known.get(definition["metadata"]["name"])
        if known and known[0] == state:
            return known
        return state, established_rows(definition)


def established_rows(definition: Object) -> tuple[Kind, ...]:
    """The rows of a definition, once its names are accepted."""
    return rows_of(definition) if condition_is_true(definition, "Established") else ()


def rows_of(definition: Object, *, all_versions: bool = False) -> tuple[Kind, ...]:
    """A row per served version (or per version), the storage version first: it is the preferred one."""
    spec = definition["spec"]
    served = [each for each in spec["versions"] if all_versions or each.get("served")]
    return tuple(_row(definition, each) for each in sorted(served, key=lambda each: not each.get("storage")))


def _row(definition: Object, version: Object) -> Kind:
    spec = definition["spec"]
    names, subresources = spec["names"], version.get("subresources") or {}
    scale = subresources.get("scale")
    storage = next(each["name"] for each in spec["versions"] if each.get("storage"))
    return Kind(
        group=spec["group"],
        version=version["name"],
        kind=names["kind"],
        plural=names["plural"],
        short_names=tuple(names.get("shortNames") or ()),
        namespaced=spec["scope"] == "Namespaced",
        status="status" in subresources,
        scale=scale is not None,
        generation=True,
        categories=tuple(names.get("categories") or ()),
        storage=f"{spec['group']}/{storage}",
        custom=CustomKind(
            definition=definition["metadata"]["name"],
            singular=names["singular"],
            list_kind=names["listKind"],
            schema=CustomSchema((version.get("schema") or {}).get("openAPIV3Schema")),
            columns=tuple(version.get("additionalPrinterColumns") or ()),
            scale=_scale_paths(scale) if scale else None,
        ),
    )


def _scale_paths(scale: Object) -> ScalePaths:
    return ScalePaths(scale["specReplicasPath"], scale["statusReplicasPath"], scale.get("labelSelectorPath", ""))


def refuse_ended(backend: Backend, kind: Kind) -> None:
    """Raise MethodNotAllowed when the definition of a custom kind is going: nothing new may be created."""
    if kind.custom is None:
        return
    definition = backend.get(StoreKey(DEFINITIONS, "", kind.custom.definition))
    if definition is None or is_terminating(definition):
        raise MethodNotAllowed("create not allowed while custom resource definition is terminating")


def remaining(backend: Backend, definition: Object) -> list[Object]:
    """The stored objects of a definition."""
    spec = definition["spec"]
    return backend.objects(f"{spec['names']['plural']}.{spec['group']}")


def without_cleanup(definition: Object) -> Object:
    """A definition that nothing of its own holds any more."""
    finalizers = [each for each in definition["metadata"].get("finalizers") or () if each != CLEANUP_FINALIZER]
    return {**definition, "metadata": {**definition["metadata"], "finalizers": finalizers}}
