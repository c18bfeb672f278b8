"""The verbs: what create, get, list, update and patch promise, for every kind alike. No HTTP, no per-kind code.

    request ─▶ decode ─▶ admission ─▶ store (with the revision that was read) ─▶ answer
                  ▲                       │
                  └── read again ◀── Conflict, unless the client named a resourceVersion

A write that changes nothing is answered without touching the store, so its resourceVersion stays. Deletion is
deletion.py's, watching is watch.py's, the subresources with rules of their own are subresources.py's.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from petset.cluster.api.apply import Owner
from petset.cluster.api.kinds import Kind, Registry
from petset.cluster.api.objects import Object, fresh_copy, is_terminating
from petset.cluster.api.patch import apply_json_patch, apply_merge_patch, apply_strategic_patch
from petset.cluster.api.schema import Schemas
from petset.cluster.api.selectors import parse_label_selector
from petset.cluster.api.validation_ephemeral import EPHEMERAL_CONTAINERS
from petset.cluster.api.versions import in_version
from petset.cluster.apiserver.admission import Admission
from petset.cluster.apiserver.custom_resources import DEFINITIONS, refuse_ended, remaining, without_cleanup
from petset.cluster.apiserver.decoding import decode
from petset.cluster.apiserver.field_labels import field_matcher
from petset.cluster.apiserver.options import ListOptions, WriteOptions
from petset.cluster.apiserver.ownership import Ownership, record
from petset.cluster.apiserver.paging import LATEST, ContinueExpired, key_of, make_token, read_token
from petset.cluster.errors import (
    AlreadyExists,
    BadRequest,
    Conflict,
    Expired,
    InternalError,
    Invalid,
    MethodNotAllowed,
    NotFound,
    UnsupportedMediaType,
)
from petset.cluster.store.backend import Backend, StoreKey

MAX_TRIES = 12
"""How often a write that met a concurrent one is tried on the newer object before the client gets the Conflict."""

PLAIN = WriteOptions()
"""The options of the server's own writes."""

Change = Callable[[Object], Object]
"""From the present object to the wanted one; must not change what it is given."""


@dataclass(frozen=True)
class Answer:
    """An object, whether it was created, and warnings for the client."""

    object: Object
    created: bool = False
    warnings: Sequence[str] = field(default_factory=list)


class Verbs:
    """The generic operations over a backend. `registry` says which kinds exist."""

    def __init__(
        self, backend: Backend, *, registry: Registry, schemas: Schemas, admission: Admission, ownership: Ownership
    ) -> None:
        self.backend = backend
        self.ownership = ownership
        self.registry = registry
        self.schemas = schemas
        self.admission = admission

    def get(self, kind: Kind, namespace: str, name: str) -> Object:
        """Raises NotFound."""
        obj = self.backend.get(StoreKey(kind.stored_as, namespace, name))
        if obj is None:
            raise not_found(kind, name)
        return in_version(obj, kind.api_version)

    def list(self, kind: Kind, namespace: str, options: ListOptions) -> Object:
        """A `…List`, sorted by (namespace, name). A `continue` token goes on after a key, in the state that
        the first page was of. Raises ContinueExpired when that state is not known any more.
        """
        revision, after = self.backend.revision, None
        if options.continue_token:
            known, after = read_token(options.continue_token)
            revision = known if known >= 0 else revision
        try:
            items = present_objects(self.backend, kind, namespace, revision=revision)
        except Expired:
            if after is None:
                raise
            raise ContinueExpired(make_token(LATEST, after)) from None
        if options.label_selector or options.field_selector:
            labels = parse_label_selector(options.label_selector)
            fields = field_matcher(kind, options.field_selector)
            items = [obj for obj in items if labels.selects(obj) and fields.matches(obj)]
        meta: Object = {"resourceVersion": str(revision)}
        if after:
            items = [obj for obj in items if key_of(obj) > after]
        if options.limit and len(items) > options.limit:
            if not (options.label_selector or options.field_selector):  # else left unset (ListMeta)
                meta["remainingItemCount"] = len(items) - options.limit
            items = items[: options.limit]
            meta["continue"] = make_token(revision, key_of(items[-1]))
        return {"kind": kind.list_kind, "apiVersion": kind.api_version, "metadata": meta, "items": items}

    async def create(
        self, kind: Kind, namespace: str, body: Any, options: WriteOptions, *, owners: tuple[Owner, ...] | None = None
    ) -> Answer:
        """Raises AlreadyExists, Invalid, BadRequest, and NotFound or Forbidden for the namespace."""
        clean, warnings = decode(kind, body, schemas=self.schemas, field_validation=options.field_validation)
        given = clean["metadata"].get("namespace") or namespace
        if kind.namespaced and given != namespace:
            raise BadRequest(
                f"the namespace of the provided object does not match the namespace sent on the request "
                f"({given} != {namespace})"
            )
        refuse_ended(self.backend, kind)
        async with self.admission.turn(kind):
            obj = await self._create(kind, namespace, clean, options, owners=owners)
        return Answer(obj, created=True, warnings=warnings)

    async def _create(
        self, kind: Kind, namespace: str, clean: Object, options: WriteOptions, *, owners: tuple[Owner, ...] | None
    ) -> Object:
        obj = self.admission.for_create(kind, namespace, clean)
        key = StoreKey(kind.stored_as, namespace if kind.namespaced else "", obj["metadata"]["name"])
        if owners is not None:
            record(obj, owners)
        else:
            self.ownership.of_created(kind, obj, options=options)
        if options.dry_run:
            if self.backend.get(key):
                raise already_exists(kind, key.name)
            return obj
        try:
            stored = await self.backend.put(key, _in_storage(kind, obj), expected=0)
            return in_version(stored, kind.api_version)
        except AlreadyExists:
            raise already_exists(kind, key.name) from None

    async def update(
        self, kind: Kind, namespace: str, name: str, *, body: Any, options: WriteOptions, subresource: str = ""
    ) -> Answer:
        """PUT. A resourceVersion in the body must be the present one; without one the update is unconditional."""
        clean, warnings = decode(kind, body, schemas=self.schemas, field_validation=options.field_validation)
        if (given := clean["metadata"].get("name")) not in (None, "", name):
            raise BadRequest(f"the name of the object ({given}) does not match the name on the URL ({name})")
        clean["metadata"]["name"] = name
        if kind.namespaced:
            clean["metadata"]["namespace"] = namespace
        obj = await self.modify(
            kind, namespace, name, lambda _: fresh_copy(clean), subresource=subresource, options=options
        )
        return Answer(obj, warnings=warnings)

    async def patch(
        self, kind: Kind, namespace: str, name: str, *,
        body: Any, patch_type: str, options: WriteOptions, subresource: str = "",
    ) -> Answer:  # fmt: skip
        """PATCH with a `merge`, `json` or `strategic` patch; the patched object is checked like any other."""
        warnings: list[str] = []

        def change(old: Object) -> Object:
            patched = self._patched(kind, old, body, patch_type)
            clean, found = decode(kind, patched, schemas=self.schemas, field_validation=options.field_validation)
            warnings[:] = found
            if clean["metadata"].get("resourceVersion") == old["metadata"]["resourceVersion"]:
                del clean["metadata"]["resourceVersion"]  # inherited: the patch names no revision to insist on
            return clean

        obj = await self.modify(kind, namespace, name, change, subresource=subresource, options=options)
        return Answer(obj, warnings=warnings)

    async def apply(
        self, kind: Kind, namespace: str, name: str, *, body: Any, options: WriteOptions, subresource: str = ""
    ) -> Answer:
        """Server-side apply: create the object, or merge into it what its manager wants. Raises Conflict."""
        configuration, warnings = self._configuration(kind, namespace, name, body, options)
        if not subresource and self.backend.get(StoreKey(kind.stored_as, namespace, name)) is None:
            return await self._create_applied(kind, namespace, configuration, options)
        if kind.status and not subresource:
            configuration.pop("status", None)
        owners: list[Owner] = []

        def change(old: Object) -> Object:
            applied = self.ownership.apply(kind, old, configuration, options=options, subresource=subresource)
            owners[:] = applied.owners
            clean, _ = decode(kind, applied.object, schemas=self.schemas, field_validation="Ignore")
            if not configuration["metadata"].get("resourceVersion"):
                clean["metadata"].pop("resourceVersion", None)
            return clean

        obj = await self.modify(
            kind, namespace, name, change, subresource=subresource, options=options, owners=owners
        )  # fmt: skip
        return Answer(obj, warnings=warnings)

    async def modify(
        self, kind: Kind, namespace: str, name: str, change: Change, *,
        options: WriteOptions = PLAIN, subresource: str = "", via: str = "",
        owners: Sequence[Owner] | None = None,
    ) -> Object:  # fmt: skip
        """Apply a change to the present object, again on a newer one if another write came between.

        `owners` are who owns the fields afterwards, read after `change`; None: what follows from what was changed,
        through the subresource `via` when that is a view of the main resource (scale).
        Raises Conflict when the changed object carries a resourceVersion that is not the present one.
        """
        for _ in range(MAX_TRIES):
            async with self.admission.turn(kind):
                old = self.get(kind, namespace, name)
                new = change(old)
                wanted = new.get("metadata", {}).get("resourceVersion") or ""
                given = new.get("metadata", {}).get("managedFields")
                revision = old["metadata"]["resourceVersion"]
                if wanted not in ("", revision):
                    raise modified(kind, name)
                admitted = self._admit(kind, old, new, subresource)
                admitted["metadata"]["resourceVersion"] = revision
                if owners is not None:
                    record(admitted, tuple(owners))
                else:
                    self.ownership.of_updated(
                        kind, old, admitted, given=given, options=options, subresource=via or subresource
                    )  # fmt: skip
                if admitted == old or options.dry_run:
                    return admitted
                try:
                    return await self._store(kind, old, admitted)
                except Conflict:
                    continue
        raise modified(kind, name)

    def _configuration(
        self, kind: Kind, namespace: str, name: str, body: Any, options: WriteOptions
    ) -> tuple[Object, Sequence[str]]:
        """An applied configuration, checked but for completeness; and warnings."""
        if not options.names_manager:
            raise Invalid(
                'PatchOptions.meta.k8s.io "" is invalid: fieldManager: Required value: is required for apply patch',
                {"group": "meta.k8s.io", "kind": "PatchOptions"},
            )
        clean, warnings = decode(
            kind, body, schemas=self.schemas, field_validation=options.field_validation, partial=True
        )
        if clean["metadata"].get("managedFields"):
            raise BadRequest("metadata.managedFields must be nil")
        if (given := clean["metadata"].get("name")) not in (None, "", name):
            raise BadRequest(f"the name of the object ({given}) does not match the name on the URL ({name})")
        clean["metadata"]["name"] = name
        if kind.namespaced:
            clean["metadata"]["namespace"] = namespace
        return clean, warnings

    async def _create_applied(self, kind: Kind, namespace: str, configuration: Object, options: WriteOptions) -> Answer:
        owners = self.ownership.of_applied(kind, configuration, options=options)
        return await self.create(kind, namespace, fresh_copy(configuration), options, owners=owners)

    async def replace(self, kind: Kind, old: Object, new: Object) -> Object:
        """Store `new` in place of exactly `old`, without admission. Raises Conflict when `old` has changed."""
        return await self._store(kind, old, new)

    async def remove(self, kind: Kind, obj: Object) -> Object:
        """Remove exactly `obj` from the store. Raises Conflict when it has changed."""
        key = StoreKey(kind.stored_as, obj["metadata"].get("namespace", ""), obj["metadata"]["name"])
        last = fresh_copy(_in_storage(kind, obj))
        gone = await self.backend.delete(key, last, expected=int(obj["metadata"]["resourceVersion"]))
        await self.finish_definition(kind)
        return in_version(gone, kind.api_version)

    def _admit(self, kind: Kind, old: Object, new: Object, subresource: str) -> Object:
        if subresource == "status":
            return self.admission.for_status_update(kind, old, new)
        if subresource == EPHEMERAL_CONTAINERS:
            return self.admission.for_ephemeral_containers(kind, old, new)
        if subresource:
            raise MethodNotAllowed("the server does not allow this method on the requested resource")
        return self.admission.for_update(kind, old, new)

    async def _store(self, kind: Kind, old: Object, new: Object) -> Object:
        """A terminating object whose last finalizer goes is removed instead."""
        key = StoreKey(kind.stored_as, old["metadata"].get("namespace", ""), old["metadata"]["name"])
        expected, kept = int(old["metadata"]["resourceVersion"]), _in_storage(kind, new)
        if is_terminating(new) and not _is_held(new):
            stored = await self.backend.delete(key, kept, expected=expected)
            await self.finish_definition(kind)
        else:
            stored = await self.backend.put(key, kept, expected=expected)
        return in_version(stored, kind.api_version)

    async def finish_definition(self, kind: Kind) -> None:
        """An object of a custom kind is gone: if it was the last of a terminating definition, that goes, too."""
        if kind.custom is None:
            return
        definitions = self.registry.of_kind("CustomResourceDefinition")
        definition = self.backend.get(StoreKey(DEFINITIONS, "", kind.custom.definition))
        if definition and is_terminating(definition) and not remaining(self.backend, definition):
            with contextlib.suppress(Conflict, NotFound):  # whoever changed it meanwhile finds it empty, too
                await self.replace(definitions, definition, without_cleanup(definition))

    def _patched(self, kind: Kind, old: Object, body: Any, patch_type: str) -> Object:
        match patch_type:
            case "merge":
                patched = apply_merge_patch(old, body)
            case "json":
                patched = apply_json_patch(old, body)
            case "strategic":
                schema = self.schemas.patch_schema(kind)
                if schema is None:
                    raise UnsupportedMediaType(
                        "the body of the request was in an unknown format - accepted media types include: "
                        "application/json-patch+json, application/merge-patch+json, application/apply-patch+yaml"
                    )
                patched = apply_strategic_patch(old, body, schema)
            case _:
                raise InternalError(f"unknown patch type {patch_type}")
        if not isinstance(patched, dict):
            raise BadRequest("the patch does not leave an object")
        return patched


def present_objects(backend: Backend, kind: Kind, namespace: str, *, revision: int | None = None) -> list[Object]:
    """All objects of a kind (of one namespace, if given), in its version; as of an earlier revision, if given."""
    if revision is None or revision == backend.revision:
        stored = backend.objects(kind.stored_as, namespace)
    else:
        stored = backend.objects_at(kind.stored_as, namespace, revision=revision)
    if not kind.storage:
        return stored
    return [in_version(obj, kind.api_version) for obj in stored]


def _in_storage(kind: Kind, obj: Object) -> Object:
    return in_version(obj, kind.storage) if kind.storage else obj


def not_found(kind: Kind, name: str) -> NotFound:
    return NotFound(f'{kind.resource} "{name}" not found', _details(kind, name))


def already_exists(kind: Kind, name: str) -> AlreadyExists:
    return AlreadyExists(f'{kind.resource} "{name}" already exists', _details(kind, name))


def modified(kind: Kind, name: str) -> Conflict:
    return Conflict(
        f'Operation cannot be fulfilled on {kind.resource} "{name}": the object has been modified; please apply your '
        "changes to the latest version and try again",
        _details(kind, name),
    )


def _details(kind: Kind, name: str) -> dict[str, Any]:
    return {"name": name, "kind": kind.plural} | ({"group": kind.group} if kind.group else {})


def _is_held(obj: Object) -> bool:
    """Something must still happen before a terminating object may go: finalizers, a namespace's content, a grace."""
    if obj["metadata"].get("finalizers") or (obj.get("spec") or {}).get("finalizers"):
        return True
    return bool(obj["metadata"].get("deletionGracePeriodSeconds"))
