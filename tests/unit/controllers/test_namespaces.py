from __future__ import annotations

from petset.cluster.api.kinds import BUILT_IN
from petset.cluster.api.objects import Object
from petset.cluster.control.snapshot import Snapshot
from petset.cluster.control.writes import NOTHING, ConfirmNone, Create, Delete, Outcome, Update
from petset.cluster.controllers.namespaces import namespace_controllers
from tests import builders

CONTENTS, END = namespace_controllers(BUILT_IN, "PEM")
KEY = ("", "shop")


def namespace(*, terminating: bool = False, finalizers: tuple[str, ...] = ("kubernetes",)) -> Object:
    made = builders.metadata("Namespace", "shop", namespace="", terminating=terminating)
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": made, "spec": {"finalizers": list(finalizers)}}


def simple(kind: str, name: str, **fields: object) -> Object:
    return {"apiVersion": "v1", "kind": kind, "metadata": builders.metadata(kind, name, namespace="shop")} | fields


def end(*objects: Object) -> Outcome:
    return END.plan(KEY, Snapshot.of(objects), 0.0)


def contents(*objects: Object) -> Outcome:
    return CONTENTS.plan(KEY, Snapshot.of(objects), 0.0)


def test_an_active_namespace_gets_its_standing_objects() -> None:
    account, root_ca = contents(namespace()).writes
    assert isinstance(account, Create)
    assert isinstance(root_ca, Create)
    assert (account.object["kind"], account.object["metadata"]["name"]) == ("ServiceAccount", "default")
    assert root_ca.object["metadata"]["name"] == "kube-root-ca.crt"
    assert root_ca.object["data"] == {"ca.crt": "PEM"}
    assert contents(namespace(), simple("ServiceAccount", "default"), root_ca.object) == NOTHING


def test_a_changed_root_certificate_is_put_right() -> None:
    old = simple("ConfigMap", "kube-root-ca.crt", data={"ca.crt": "old", "more": "x"})
    (update,) = contents(namespace(), simple("ServiceAccount", "default"), old).writes
    assert isinstance(update, Update)
    assert update.object["data"] == {"ca.crt": "PEM"}


def test_a_terminating_namespace_gets_nothing_new() -> None:
    assert contents(namespace(terminating=True)) == NOTHING


def test_an_active_namespace_is_not_emptied() -> None:
    assert end(namespace(), simple("ConfigMap", "a")) == NOTHING


def test_a_terminating_namespace_is_emptied_events_last() -> None:
    writes = end(
        namespace(terminating=True),
        simple("Event", "e"),
        simple("ConfigMap", "a"),
        builders.pod("web-0", namespace="shop"),
        builders.pod("web-1", namespace="shop", terminating=True),
        builders.pod("web-0", namespace="other"),
    ).writes
    assert set(writes) == {
        Delete("ConfigMap", "shop", "a", uid="uid-configmap-a", propagation="Background"),
        Delete("Pod", "shop", "web-0", uid="uid-pod-web-0", propagation="Background"),
    }
    (event,) = end(namespace(terminating=True), simple("Event", "e")).writes
    assert event == Delete("Event", "shop", "e", uid="uid-event-e", propagation="Background")


def test_what_waits_for_its_own_end_is_waited_for() -> None:
    assert end(namespace(terminating=True), builders.pod(namespace="shop", terminating=True)) == NOTHING


def test_an_empty_namespace_is_finalized_when_the_server_says_so() -> None:
    *confirmations, finalize = end(namespace(terminating=True, finalizers=("kubernetes", "mine"))).writes
    assert confirmations == [ConfirmNone(each.kind, "shop") for each in BUILT_IN if each.namespaced]
    assert isinstance(finalize, Update)
    assert finalize.subresource == "finalize"
    assert finalize.object["spec"]["finalizers"] == ["mine"]
    assert finalize.object["metadata"]["resourceVersion"] == "1"


def test_a_finalized_namespace_is_left_alone() -> None:
    assert end(namespace(terminating=True, finalizers=())) == NOTHING


def test_triggers() -> None:
    going, living = Snapshot.of([namespace(terminating=True)]), Snapshot.of([namespace()])
    assert list(END.triggers["ConfigMap"](simple("ConfigMap", "a"), going)) == [KEY]
    assert list(END.triggers["ConfigMap"](simple("ConfigMap", "a"), living)) == []
    assert list(CONTENTS.triggers["ConfigMap"](simple("ConfigMap", "kube-root-ca.crt"), living)) == [KEY]
    assert list(CONTENTS.triggers["ConfigMap"](simple("ConfigMap", "a"), living)) == []
    assert "Node" not in END.triggers
