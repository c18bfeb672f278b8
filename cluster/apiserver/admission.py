"""Admission: what happens to an object between a client's request and the store.

    create:  metadata ─▶ defaults ─▶ plugins (cluster IPs, tolerations, classes, finalizers) ─▶ validation
    update:  what may not change is carried over ─▶ defaults ─▶ validation ─▶ generation

The plugins stand for the admission controllers and create strategies of the real server that concern our kinds.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, nullcontext

from petset.cluster.api.custom_definitions import fill_definition, served_status
from petset.cluster.api.defaults import fill_defaults
from petset.cluster.api.fields import invalid
from petset.cluster.api.kinds import Kind
from petset.cluster.api.objects import Object, fresh_copy, is_terminating
from petset.cluster.api.quality import quality_of_service
from petset.cluster.api.times import format_time
from petset.cluster.api.validation import validate, validate_update
from petset.cluster.api.validation_ephemeral import validate_ephemeral_containers
from petset.cluster.api.volumes import CLAIM_FINALIZER, VOLUME_FINALIZER, class_of, default_class, requested
from petset.cluster.apiserver.custom_resources import CLEANUP_FINALIZER
from petset.cluster.apiserver.service_addresses import ServiceAddresses
from petset.cluster.apiserver.token_mounts import mount_token
from petset.cluster.clock import Clock
from petset.cluster.errors import Conflict, Forbidden, NotFound
from petset.cluster.names import Names
from petset.cluster.store.backend import Backend, StoreKey

KEEPS_STATUS_ON_CREATE = ("Node",)
"""A kubelet registers its Node with its status; every other kind is created without one."""

_SERVER_FIELDS = ("uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds", "generation")
_NODE_TOLERATIONS = ("node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable")
TOLERATION_SECONDS = 300


class Admission:
    """Completes and checks objects; reads the store, never writes it."""

    def __init__(
        self, backend: Backend, *,
        clock: Clock, names: Names, service_addresses: ServiceAddresses, mounts_tokens: bool = False,
    ) -> None:  # fmt: skip
        self._backend = backend
        self._mounts_tokens = mounts_tokens
        self._clock = clock
        self._names = names
        self._service_addresses = service_addresses
        self._service_turn = asyncio.Lock()
        self._plugins: dict[str, Callable[[Object, Object | None], None]] = {
            "Pod": self._admit_pod,
            "Service": self._admit_service,
            "PersistentVolumeClaim": self._admit_claim,
            "PersistentVolume": self._admit_volume,
            "Namespace": self._admit_namespace,
            "StatefulSet": self._admit_stateful_set,
            "CustomResourceDefinition": self._admit_definition,
        }

    def turn(self, kind: Kind) -> AbstractAsyncContextManager[None]:
        """To be held from the admission of an object until it is stored, which may take a while: two Services that
        were admitted on the same stored ones would get the same address."""
        return self._service_turn if kind.rules == "Service" else nullcontext()

    def for_create(self, kind: Kind, namespace: str, obj: Object) -> Object:
        """A complete new object. `obj` is the caller's own copy. Raises Invalid, NotFound, Forbidden."""
        meta = obj["metadata"]
        for field in (*_SERVER_FIELDS, "resourceVersion", "selfLink", "managedFields"):
            meta.pop(field, None)
        if kind.namespaced:
            self._require_namespace(namespace)
            meta["namespace"] = namespace
        else:
            meta.pop("namespace", None)
        if not meta.get("name") and meta.get("generateName"):
            meta["name"] = meta["generateName"][:58] + self._names.suffix()
        meta["uid"] = self._names.uid()
        meta["creationTimestamp"] = format_time(self._clock.now())
        if kind.generation:
            meta["generation"] = 1
        if kind.status and kind.rules not in KEEPS_STATUS_ON_CREATE:
            obj.pop("status", None)
        fill_defaults(kind.rules, obj)
        if plugin := self._plugins.get(kind.rules):
            plugin(obj, None)
        if errors := validate(kind, obj):
            raise invalid(kind, meta.get("name", ""), errors)
        return obj

    def for_update(self, kind: Kind, old: Object, new: Object) -> Object:
        """The object that replaces `old` through the main resource; status stays what it was."""
        self._check_identity(kind, old, new)
        if kind.status:
            new["status"] = fresh_copy(old["status"]) if "status" in old else {}
            if "status" not in old:
                del new["status"]
        fill_defaults(kind.rules, new)
        if plugin := self._plugins.get(kind.rules):
            plugin(new, old)
        if errors := validate_update(kind, new, old):
            raise invalid(kind, old["metadata"]["name"], errors)
        if kind.generation and _desired(new) != _desired(old):
            new["metadata"]["generation"] = old["metadata"].get("generation", 0) + 1
        return new

    def for_status_update(self, kind: Kind, old: Object, new: Object) -> Object:
        """The object that replaces `old` through `/status`: only status (and nothing of spec) changes."""
        self._check_identity(kind, old, new)
        changed = fresh_copy(old)
        changed["metadata"]["resourceVersion"] = new["metadata"].get("resourceVersion", "")
        if "status" in new:
            changed["status"] = new["status"]
        else:
            changed.pop("status", None)
        if kind.rules == "CertificateSigningRequest":
            self._date_conditions(changed)
        return changed

    def for_ephemeral_containers(self, kind: Kind, old: Object, new: Object) -> Object:
        """The pod that replaces `old` through `/ephemeralcontainers`: only those change."""
        self._check_identity(kind, old, new)
        changed = fresh_copy(old)
        changed["metadata"]["resourceVersion"] = new["metadata"].get("resourceVersion", "")
        changed["spec"]["ephemeralContainers"] = (new.get("spec") or {}).get("ephemeralContainers") or []
        fill_defaults(kind.rules, changed)
        if errors := validate_ephemeral_containers(changed, old):
            raise invalid(kind, old["metadata"]["name"], errors)
        if not changed["spec"]["ephemeralContainers"]:
            del changed["spec"]["ephemeralContainers"]
        if _desired(changed) != _desired(old):
            changed["metadata"]["generation"] = old["metadata"].get("generation", 0) + 1
        return changed

    def _check_identity(self, kind: Kind, old: Object, new: Object) -> None:
        """Server-owned metadata is carried over; a uid that differs is a conflict, as in Kubernetes."""
        meta = new.setdefault("metadata", {})
        name, uid = old["metadata"]["name"], old["metadata"]["uid"]
        if meta.get("uid") not in (None, "", uid):
            raise Conflict(
                f'Operation cannot be fulfilled on {kind.resource} "{name}": StorageError: invalid object, '
                f"Code: 4, Precondition failed: UID in precondition: {meta['uid']}, UID in object meta: {uid}",
                {"name": name, "group": kind.group, "kind": kind.plural},
            )
        for field in _SERVER_FIELDS:
            if field in old["metadata"]:
                meta[field] = old["metadata"][field]
            else:
                meta.pop(field, None)
        meta.pop("managedFields", None)

    def _require_namespace(self, name: str) -> None:
        """NamespaceLifecycle: nothing is created in a namespace that is absent or going."""
        namespace = self._backend.get(StoreKey("namespaces", "", name))
        if namespace is None:
            raise NotFound(f'namespaces "{name}" not found', {"name": name, "kind": "namespaces"})
        if is_terminating(namespace):
            raise Forbidden(
                f"unable to create new content in namespace {name} because it is being terminated",
                {"causes": [{"reason": "NamespaceTerminating", "field": "metadata.namespace"}]},
            )

    def _admit_pod(self, pod: Object, old: Object | None) -> None:
        """ServiceAccount, Priority and DefaultTolerationSeconds."""
        if old is not None:
            return
        spec = pod["spec"]
        spec.setdefault("serviceAccountName", "default")
        spec["serviceAccount"] = spec["serviceAccountName"]
        if self._mounts_tokens:
            account = StoreKey("serviceaccounts", pod["metadata"]["namespace"], spec["serviceAccountName"])
            mount_token(spec, self._backend.get(account), self._names)
        spec.setdefault("priority", 0)
        spec.setdefault("preemptionPolicy", "PreemptLowerPriority")
        tolerations = spec.setdefault("tolerations", [])
        for key in _NODE_TOLERATIONS:
            if not any(_tolerates(each, key) for each in tolerations):
                tolerations.append(
                    {"key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": TOLERATION_SECONDS}
                )
        pod["status"] = {"phase": "Pending", "qosClass": quality_of_service(spec)}

    def _date_conditions(self, request: Object) -> None:
        """As the certificates' strategy does for what approvers leave out."""
        now = format_time(self._clock.now())
        for each in (request.get("status") or {}).get("conditions") or ():
            each.setdefault("lastUpdateTime", now)
            each.setdefault("lastTransitionTime", now)

    def _admit_service(self, service: Object, old: Object | None) -> None:
        self._service_addresses.complete(service, old)

    def _admit_claim(self, claim: Object, old: Object | None) -> None:
        """DefaultStorageClass, StorageObjectInUseProtection and PersistentVolumeClaimResize."""
        if old is not None:
            self._require_resizable(claim, old)
            return
        _add_finalizer(claim, CLAIM_FINALIZER)
        if class_of(claim) is not None:
            return
        if found := default_class(self._backend.objects("storageclasses.storage.k8s.io")):
            claim["spec"]["storageClassName"] = found["metadata"]["name"]

    def _require_resizable(self, claim: Object, old: Object) -> None:
        """Raises Forbidden for a claim that asks for more where its class does not allow it (resize/admission.go)."""
        try:
            grows = requested(claim) > requested(old)
        except ValueError:
            return  # refused by the validation, as what an unbound claim may not do
        if not grows or (old.get("status") or {}).get("phase") != "Bound":
            return
        classes = self._backend.objects("storageclasses.storage.k8s.io")
        allowing = [each["metadata"]["name"] for each in classes if each.get("allowVolumeExpansion") is True]
        if class_of(claim) not in allowing:
            name = claim["metadata"]["name"]
            raise Forbidden(
                f'persistentvolumeclaims "{name}" is forbidden: only dynamically provisioned pvc can be resized and '
                "the storageclass that provisions the pvc must support resize",
                {"name": name, "kind": "persistentvolumeclaims"},
            )

    def _admit_volume(self, volume: Object, old: Object | None) -> None:
        if old is None:
            _add_finalizer(volume, VOLUME_FINALIZER)

    def _admit_namespace(self, namespace: Object, old: Object | None) -> None:
        if old is None:
            namespace.setdefault("spec", {})["finalizers"] = ["kubernetes"]
        else:
            namespace["spec"] = fresh_copy(old.get("spec", {}))

    def _admit_definition(self, definition: Object, old: Object | None) -> None:
        """Names are accepted at once: two definitions cannot share a plural, which is part of their name."""
        fill_definition(definition)
        if old is None:
            _add_finalizer(definition, CLEANUP_FINALIZER)
        status = definition.get("status") or {}
        definition["status"] = served_status(definition, status, format_time(self._clock.now()))

    def _admit_stateful_set(self, stateful_set: Object, old: Object | None) -> None:
        if old is None:
            stateful_set["status"] = {"replicas": 0, "availableReplicas": 0}


def _tolerates(toleration: Object, key: str) -> bool:
    wanted = (toleration.get("key", key), toleration.get("effect", "NoExecute"))
    return wanted == (key, "NoExecute")


def _add_finalizer(obj: Object, finalizer: str) -> None:
    finalizers = obj["metadata"].setdefault("finalizers", [])
    if finalizer not in finalizers:
        finalizers.append(finalizer)


def _desired(obj: Object) -> Object:
    """What `generation` counts: everything but metadata and status."""
    return {field: value for field, value in obj.items() if field not in ("metadata", "status")}
