"""Namespaces: what each one has from its beginning, and how it ends.

    active       ServiceAccount `default` and ConfigMap `kube-root-ca.crt` exist in it, made again when removed
    terminating  everything in it is deleted, kind by kind ─▶ the server has nothing left ─▶ finalized ─▶ gone

The API server creates nothing in a terminating namespace, so what is found empty once stays empty; that it is empty
is asked of the server itself, because a cache may not have seen the last object yet. Objects that wait for their own
end (a pod for its kubelet, a claim for its pods) are waited for. Events are deleted last: they tell of the end.
Namespace conditions are left out (namespace/deletion, serviceaccount and rootcacertpublisher controllers).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial

from petset.cluster.api.kinds import Kind
from petset.cluster.api.objects import Object, is_terminating, name_of, namespace_of, uid_of
from petset.cluster.control.controller import Controller, Trigger
from petset.cluster.control.snapshot import Key, Snapshot, key_of
from petset.cluster.control.writes import NOTHING, ConfirmNone, Create, Delete, Outcome, Update, Write

FINALIZER = "kubernetes"
ROOT_CA = "kube-root-ca.crt"
LAST = ("Event",)


def plan_contents(key: Key, snapshot: Snapshot, now: float, *, root_ca: str) -> Outcome:
    """An active namespace has its two standing objects."""
    namespace = snapshot.get("Namespace", *key)
    if namespace is None or is_terminating(namespace):
        return NOTHING
    name = name_of(namespace)
    writes: list[Write] = []
    if snapshot.get("ServiceAccount", name, "default") is None:
        account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default", "namespace": name}}
        writes.append(Create(account, exists_ok=True))
    present, data = snapshot.get("ConfigMap", name, ROOT_CA), {"ca.crt": root_ca}
    if present is None:
        writes.append(Create(_root_ca_map(name, data), exists_ok=True))
    elif present.get("data") != data:
        writes.append(Update({**present, "data": data}))
    return Outcome(tuple(writes))


def _root_ca_map(namespace: str, data: dict[str, str]) -> Object:
    about = (
        "Contains a CA bundle that can be used to verify the kube-apiserver when using internal endpoints such as the "
        "internal service IP or kubernetes.default.svc. No other usage is guaranteed across distributions of "
        "Kubernetes clusters."
    )
    meta = {"name": ROOT_CA, "namespace": namespace, "annotations": {"kubernetes.io/description": about}}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": data}


def plan_end(key: Key, snapshot: Snapshot, now: float, *, kinds: Sequence[str]) -> Outcome:
    """Empty a terminating namespace, then finalize it."""
    namespace = snapshot.get("Namespace", *key)
    if namespace is None or not is_terminating(namespace):
        return NOTHING
    finalizers = (namespace.get("spec") or {}).get("finalizers") or []
    if FINALIZER not in finalizers:
        return NOTHING
    name = name_of(namespace)
    content = {kind: snapshot.objects(kind, name) for kind in kinds}
    if any(content[kind] for kind in kinds if kind not in LAST):
        content = {kind: objects for kind, objects in content.items() if kind not in LAST}
    if any(content.values()):
        return Outcome(tuple(_delete(each) for found in content.values() for each in found if not is_terminating(each)))
    left = [each for each in finalizers if each != FINALIZER]
    finalized = {**namespace, "spec": {**namespace["spec"], "finalizers": left}}
    return Outcome((*(ConfirmNone(kind, name) for kind in kinds), Update(finalized, subresource="finalize")))


def _delete(obj: Object) -> Delete:
    return Delete(obj["kind"], namespace_of(obj), name_of(obj), uid=uid_of(obj), propagation="Background")


def _itself(namespace: Object, snapshot: Snapshot) -> Iterable[Key]:
    yield key_of(namespace)


def _terminating_home(obj: Object, snapshot: Snapshot) -> Iterable[Key]:
    home = snapshot.get("Namespace", "", namespace_of(obj))
    if home is not None and is_terminating(home):
        yield key_of(home)


def _home_of(name: str) -> Trigger:
    def trigger(obj: Object, snapshot: Snapshot) -> Iterable[Key]:
        if name_of(obj) == name:
            yield "", namespace_of(obj)

    return trigger


def namespace_controllers(kinds: Iterable[Kind], root_ca: str) -> tuple[Controller, ...]:
    """`kinds` are all served kinds (cluster-scoped ones are skipped); `root_ca` is the API server's CA as PEM text."""
    namespaced = [each.kind for each in kinds if each.namespaced]
    triggers: dict[str, Trigger] = {"Namespace": _itself}
    contents = Controller(
        component="namespace-contents-controller",
        triggers={**triggers, "ServiceAccount": _home_of("default"), "ConfigMap": _home_of(ROOT_CA)},
        plan=partial(plan_contents, root_ca=root_ca),
    )
    end = Controller(
        component="namespace-controller",
        triggers=triggers | dict.fromkeys(namespaced, _terminating_home),
        plan=partial(plan_end, kinds=tuple(namespaced)),
    )
    return (contents, end)
