"""A world that takes a plan's writes, as far as the API server's rules matter to the plans under test.

No time passes in it and nothing runs: a test calls plans in whatever order it wants to see, or stops in the middle of
one plan's writes as a crash would.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable
from typing import Any

from petset.cluster.api.objects import Object, name_of, namespace_of, uid_of
from petset.cluster.control.snapshot import Key, Snapshot
from petset.cluster.control.writes import Bind, ConfirmNone, Create, Delete, Outcome, Patch, Record, Update

Plan = Callable[[Key, Snapshot, float], Outcome]
Id = tuple[str, str, str]


class Crash(Exception):
    """Raised when the allowed number of writes is used up."""


class World:
    """Objects by (kind, namespace, name), and what was said about them."""

    def __init__(self, *objects: Object, writes_left: int | None = None) -> None:
        self.objects: dict[Id, Object] = {}
        self.said: list[Record] = []
        self.writes_left = writes_left
        self._revision = 100
        for obj in objects:
            self._put(obj)

    @property
    def snapshot(self) -> Snapshot:
        return Snapshot.of(copy.deepcopy(list(self.objects.values())))

    def get(self, kind: str, name: str, namespace: str = "default") -> Object:
        return self.objects[kind, namespace, name]

    def has(self, kind: str, name: str, namespace: str = "default") -> bool:
        return (kind, namespace, name) in self.objects

    def reasons(self) -> list[str]:
        return [each.reason for each in self.said]

    def settle(self, plans: Iterable[tuple[str, Plan]], *, now: float = 0.0, rounds: int = 30) -> None:
        """Plan every object of each plan's kind until a whole round writes nothing. Raises Crash."""
        known = list(plans)
        for _ in range(rounds):
            before = self._revision
            for kind, plan in known:
                for found, namespace, name in sorted(self.objects):
                    if found == kind:
                        self.apply(plan((namespace, name), self.snapshot, now))
            if self._revision == before:
                return
        raise AssertionError(f"no rest after {rounds} rounds; last said {self.reasons()[-5:]}")

    def apply(self, outcome: Outcome) -> None:
        """Perform the writes in order, up to a confirmation that fails. Raises Crash."""
        for write in outcome.writes:
            if isinstance(write, ConfirmNone):
                if any(self._is_meant(obj, write) for obj in self.objects.values()):
                    return
            elif isinstance(write, Record):
                self.said.append(write)
            else:
                self._count()
                self._perform(write)
                if write.said:
                    self.said.append(write.said)

    def _is_meant(self, obj: Object, confirm: ConfirmNone) -> bool:
        place = obj["kind"] == confirm.kind and confirm.namespace in ("", namespace_of(obj))
        return place and confirm.name in ("", name_of(obj)) and confirm.matching(obj)

    def _count(self) -> None:
        if self.writes_left is not None:
            if self.writes_left == 0:
                raise Crash
            self.writes_left -= 1

    def _perform(self, write: Create | Update | Patch | Delete | Bind) -> None:
        match write:
            case Create(object=obj):
                if not self.has(obj["kind"], name_of(obj), namespace_of(obj)):
                    uid = f"uid-{obj['kind'].lower()}-{name_of(obj)}"
                    self._put({**obj, "metadata": {**obj["metadata"], "uid": uid}})
                else:
                    assert write.exists_ok
            case Update(object=obj):
                present = self.get(obj["kind"], name_of(obj), namespace_of(obj))
                assert obj["metadata"]["resourceVersion"] == present["metadata"]["resourceVersion"], "conflict"
                self._put(obj)
            case Patch():
                self._patch(write)
            case Delete():
                self._delete(write)
            case Bind():
                pod = self.get("Pod", write.name, write.namespace)
                self._put({**pod, "spec": {**pod["spec"], "nodeName": write.node}})

    def _patch(self, patch: Patch) -> None:
        present = self.get(patch.kind, patch.name, patch.namespace)
        assert patch.uid in ("", uid_of(present))
        body = copy.deepcopy(dict(patch.body)) if isinstance(patch.body, dict) else {}
        revision = (body.get("metadata") or {}).pop("resourceVersion", None)
        assert revision in (None, present["metadata"]["resourceVersion"]), "conflict"
        conditions = (body.get("status") or {}).pop("conditions", []) if patch.type == "strategic" else []
        merged = _merged(present, body)
        for new in conditions:
            known = merged.setdefault("status", {}).setdefault("conditions", [])
            old = next((each for each in known if each["type"] == new["type"]), None)
            if old is None:
                known.append(new)
            else:
                old.update(new)
        self._put(merged)

    def _delete(self, write: Delete) -> None:
        if not self.has(write.kind, write.name, write.namespace):
            return
        present = self.get(write.kind, write.name, write.namespace)
        if write.uid not in ("", uid_of(present)):
            return
        finalizers = list(present["metadata"].get("finalizers") or [])
        if write.propagation in ("Foreground", "Orphan"):
            finalizers.append({"Foreground": "foregroundDeletion", "Orphan": "orphan"}[write.propagation])
        if finalizers or (write.kind == "Pod" and write.grace_seconds != 0 and present["spec"].get("nodeName")):
            marks = {"finalizers": finalizers, "deletionTimestamp": "2026-01-01T00:00:30Z"}
            self._put({**present, "metadata": {**present["metadata"], **marks}})
        else:
            del self.objects[write.kind, write.namespace, write.name]
            self._revision += 1

    def _put(self, obj: Object) -> None:
        identity = (obj["kind"], namespace_of(obj), name_of(obj))
        meta = obj["metadata"]
        if meta.get("deletionTimestamp") and not meta.get("finalizers") and obj["kind"] != "Pod":
            self.objects.pop(identity, None)
            self._revision += 1
            return
        self._revision += 1
        self.objects[identity] = {**copy.deepcopy(obj), "metadata": {**meta, "resourceVersion": str(self._revision)}}


def _merged(old: Any, new: Any) -> Any:
    """A JSON merge patch (RFC 7386)."""
    if not isinstance(new, dict):
        return new
    result = dict(old) if isinstance(old, dict) else {}
    for key, value in new.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = _merged(result.get(key), value)
    return result
