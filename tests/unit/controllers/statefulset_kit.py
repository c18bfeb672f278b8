"""Shorthand for StatefulSet tables: a row of pods as a line of text, and an outcome as a list of lines.

    "R R* U . F"  ──▶  web-0 ready; web-1 ready, of the old revision; web-2 running but unready; no web-3; web-4 failed

States: R ready, U running and unready, P pending, F failed, S succeeded, `.` absent; a `-` behind means terminating,
a `*` the old revision (made from OLD_TEMPLATE).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from petset.cluster.api.objects import Object, name_of
from petset.cluster.api.revisions import HASH_LABEL, hash_of, revision_data, revision_name
from petset.cluster.control.snapshot import Snapshot, key_of
from petset.cluster.control.writes import ConfirmNone, Create, Delete, Outcome, Patch, Record, Update, Write
from petset.cluster.controllers.statefulset import CONTROLLER
from petset.cluster.controllers.statefulset.pods import POD_INDEX_LABEL, POD_NAME_LABEL, REVISION_LABEL
from tests.builders import EPOCH, LABELS, metadata, pod, pod_template

NOW = EPOCH + 1000.0
OLD_TEMPLATE = pod_template("web:0")

_PHASES = {"R": "Running", "U": "Running", "P": "Pending", "F": "Failed", "S": "Succeeded"}


def revision(owner: Object, /, template: Object | None = None, *, number: int = 1, **meta: Any) -> Object:
    """The ControllerRevision of a template (by default the set's own), owned by the set unless told otherwise."""
    data = revision_data(template or owner["spec"]["template"])
    hash_value = hash_of(data, 0)
    name = revision_name(name_of(owner), hash_value)
    settings: dict[str, Any] = {"labels": LABELS | {HASH_LABEL: hash_value}, "owner": owner} | meta
    return {
        "apiVersion": "apps/v1",
        "kind": "ControllerRevision",
        "metadata": metadata("ControllerRevision", name, **settings),
        "data": data,
        "revision": number,
    }


def old_name(owner: Object) -> str:
    return name_of(revision(owner, OLD_TEMPLATE))


def new_name(owner: Object) -> str:
    return name_of(revision(owner))


def pods_of(owner: Object, states: str, *, first: int = 0) -> list[Object]:
    """The pods of a line of states, ordinals from `first`."""
    tokens = states.split()
    return [_pod_in(owner, token, first + index) for index, token in enumerate(tokens) if token != "."]


def _pod_in(owner: Object, token: str, ordinal: int) -> Object:
    name = f"{name_of(owner)}-{ordinal}"
    revision_label = old_name(owner) if "*" in token else new_name(owner)
    volumes = [
        {"name": name_of(each), "persistentVolumeClaim": {"claimName": f"{name_of(each)}-{name}"}}
        for each in owner["spec"].get("volumeClaimTemplates", ())
    ]
    return pod(
        name,
        phase=_PHASES[token[0]],
        ready=token[0] == "R",
        terminating="-" in token,
        labels=LABELS | {POD_NAME_LABEL: name, POD_INDEX_LABEL: str(ordinal), REVISION_LABEL: revision_label},
        owner=owner,
        spec={"volumes": volumes} if volumes else {},
    )


def decide(owner: Object, *others: Object | Iterable[Object], now: float = NOW) -> Outcome:
    """The set's outcome in a world of these objects; lists are taken apart."""
    flat = [owner]
    for each in others:
        flat += [each] if isinstance(each, dict) else list(each)
    return CONTROLLER.plan(key_of(owner), Snapshot.of(flat), now)


def rolling(owner: Object, states: str, *, first: int = 0, now: float = NOW) -> Outcome:
    """The outcome in the middle of a roll from OLD_TEMPLATE to the set's template."""
    both = [revision(owner, OLD_TEMPLATE, number=1), revision(owner, number=2)]
    owner["status"] = {"currentRevision": old_name(owner)} | owner["status"]
    return decide(owner, both, pods_of(owner, states, first=first), now=now)


def steps(outcome: Outcome, *kinds: str) -> list[str]:
    """The writes to these kinds (default: pods), as `verb name`."""
    wanted = kinds or ("Pod",)
    return [f"{verb} {name}" for verb, kind, name in map(_parts, outcome.writes) if kind in wanted]


def _parts(write: Write) -> tuple[str, str, str]:
    match write:
        case Create(object=obj):
            return "create", obj["kind"], name_of(obj)
        case Update(object=obj, subresource=subresource):
            return "update", subresource or obj["kind"], name_of(obj)
        case Patch(kind=kind, name=name):
            return "patch", kind, name
        case Delete(kind=kind, name=name):
            return "delete", kind, name
        case ConfirmNone(kind=kind, name=name):
            return "confirm", kind, name
        case Record(reason=reason):
            return "record", "Event", reason
    raise AssertionError(write)


def created(outcome: Outcome, name: str) -> Object:
    """The object of this name that the outcome creates."""
    return next(each.object for each in outcome.writes if isinstance(each, Create) and name_of(each.object) == name)


def status_of(outcome: Outcome) -> Object | None:
    """The status that the outcome writes, if it writes one."""
    writes = [each for each in outcome.writes if isinstance(each, Update) and each.subresource == "status"]
    assert len(writes) <= 1
    return dict(writes[0].object["status"]) if writes else None
