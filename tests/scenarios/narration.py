"""What happened in a cluster, told in one line per fact: the differences between two versions of an object.

    pod web-1: created (r2) … running … ready … not ready … terminating … gone; adopted, released, labels
    claim data-web-1: created … owned by pod web-1 … terminating … gone
    revision r2: created as number 2 … number 4 … gone
    status web: replicas 3, ready 2, available 2, current 2 (r1), updated 1 (r2)
    event web: SuccessfulCreate create Pod web-1 in StatefulSet web successful

Revisions are called r1, r2, … in the order of their first appearance, so that the text does not depend on their
hashes. Left out, as other tests hold it: scheduling, binding of volumes, containers, events of kubelets.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from petset.cluster.api.objects import (
    Object,
    condition_is_true,
    controller_of,
    is_terminating,
    labels_of,
    name_of,
    owner_references,
)

REVISION_LABEL = "controller-revision-hash"
TOLD_EVENTS = ("TaintManagerEviction", "NodeNotReady", "FailedAttachVolume", "ForcedDetach")
"""Reasons of events that are told although they are not about a StatefulSet."""


class Narrator:
    """Remembers the names of revisions; everything else is a function of the two versions."""

    def __init__(self) -> None:
        self._revisions: list[str] = []
        self._tellers: dict[str, Callable[[Object | None, Object], Iterator[str]]] = {
            "Pod": self._pod,
            "PersistentVolumeClaim": self._claim,
            "ControllerRevision": self._revision,
            "StatefulSet": self._set,
            "Node": self._node,
            "Event": self._event,
        }

    @property
    def kinds(self) -> tuple[str, ...]:
        return tuple(self._tellers)

    def tell(self, old: Object | None, new: Object | None) -> list[str]:
        """The lines for one change; `None` stands for absent."""
        if new is not None:
            return list(self._tellers[new["kind"]](old, new))
        assert old is not None
        return [] if old["kind"] == "Event" else [f"{self._title(old)}: gone"]

    def revision(self, name: str) -> str:
        """The short name of a ControllerRevision."""
        if not name:
            return "none"
        if name not in self._revisions:
            self._revisions.append(name)
        return f"r{self._revisions.index(name) + 1}"

    def _title(self, obj: Object) -> str:
        kind = {"PersistentVolumeClaim": "claim", "ControllerRevision": "revision", "StatefulSet": "set"}.get(
            obj["kind"], obj["kind"].lower()
        )
        name = self.revision(name_of(obj)) if kind == "revision" else name_of(obj)
        return f"{kind} {name}"

    def _pod(self, old: Object | None, new: Object) -> Iterator[str]:
        title = self._title(new)
        if old is None:
            revision = labels_of(new).get(REVISION_LABEL, "")
            yield f"{title}: created ({self.revision(revision)})" if revision else f"{title}: created"
            return
        if _owner(old) != _owner(new):
            yield f"{title}: adopted by {_owner(new)}" if _owner(new) else f"{title}: released by {_owner(old)}"
        if labels_of(old) != labels_of(new):
            yield f"{title}: labels {_label_changes(labels_of(old), labels_of(new))}"
        if old["status"].get("phase") != new["status"].get("phase"):
            yield f"{title}: {new['status']['phase'].lower()}"
        was_ready, is_ready = condition_is_true(old, "Ready"), condition_is_true(new, "Ready")
        if was_ready != is_ready:
            yield f"{title}: ready" if is_ready else f"{title}: not ready"
        if is_terminating(new) and not is_terminating(old):
            yield f"{title}: terminating"

    def _claim(self, old: Object | None, new: Object) -> Iterator[str]:
        title = self._title(new)
        if old is None:
            yield f"{title}: created"
        if _owners(old) != _owners(new):
            yield f"{title}: owned by {_owners(new) or 'nobody'}"
        if old is not None and is_terminating(new) and not is_terminating(old):
            yield f"{title}: terminating"

    def _revision(self, old: Object | None, new: Object) -> Iterator[str]:
        title = self._title(new)
        if old is None:
            yield f"{title}: created as number {new['revision']}"
            return
        if old["revision"] != new["revision"]:
            yield f"{title}: number {new['revision']}"
        if _owner(old) != _owner(new):
            yield f"{title}: adopted by {_owner(new)}" if _owner(new) else f"{title}: released by {_owner(old)}"

    def _set(self, old: Object | None, new: Object) -> Iterator[str]:
        if old is None:
            yield f"{self._title(new)}: created"
            return
        if is_terminating(new) and not is_terminating(old):
            yield f"{self._title(new)}: terminating"
        if (status := self.status(new)) != self.status(old):
            yield f"status {name_of(new)}: {status}"

    def status(self, stateful_set: Object) -> str:
        """A set's status in one line."""
        status = stateful_set.get("status") or {}
        current, update = (self.revision(status.get(field, "")) for field in ("currentRevision", "updateRevision"))
        return (
            f"replicas {status.get('replicas', 0)}, ready {status.get('readyReplicas', 0)}, "
            f"available {status.get('availableReplicas', 0)}, current {status.get('currentReplicas', 0)} ({current}), "
            f"updated {status.get('updatedReplicas', 0)} ({update})"
        )

    def _node(self, old: Object | None, new: Object) -> Iterator[str]:
        if old is not None and condition_is_true(old, "Ready") != condition_is_true(new, "Ready"):
            yield f"{self._title(new)}: {'ready' if condition_is_true(new, 'Ready') else 'not ready'}"
        if old is not None and _taints(old) != _taints(new):
            yield f"{self._title(new)}: taints {_taints(new) or 'none'}"

    def _event(self, old: Object | None, new: Object) -> Iterator[str]:
        about = new["involvedObject"]
        if about["kind"] != "StatefulSet" and new["reason"] not in TOLD_EVENTS:
            return
        repeated = f" (x{new['count']})" if new["count"] > 1 else ""
        text = re.sub(r"pvc-[0-9a-f-]{36}", "pvc-…", new["message"])
        for number, name in enumerate(self._revisions, start=1):
            text = text.replace(name, f"r{number}")
        yield f"event {re.sub('^pvc-.*', 'volume', about['name'])}: {new['reason']} {text}{repeated}"


def _owner(obj: Object) -> str:
    controller = controller_of(obj)
    return f"{controller['kind'].replace('StatefulSet', 'set').lower()} {controller['name']}" if controller else ""


def _owners(obj: Object | None) -> str:
    """Every owner of an object: it need not be its controller."""
    references = owner_references(obj) if obj else []
    return ", ".join(f"{each['kind'].replace('StatefulSet', 'set').lower()} {each['name']}" for each in references)


def _label_changes(old: dict[str, str], new: dict[str, str]) -> str:
    changed = [f"{key}={value}" for key, value in sorted(new.items()) if old.get(key) != value]
    return " ".join([*changed, *(f"{key}-" for key in sorted(set(old) - set(new)))])


def _taints(node: Object) -> str:
    taints = node["spec"].get("taints") or []
    return ", ".join(sorted(f"{each['key'].rpartition('/')[2]}:{each['effect']}" for each in taints))
