"""How a pod and its claims are built (1.6), and what is said about it (1.9)."""

from __future__ import annotations

import pytest

from petset.cluster.api.objects import Object, controller_reference, name_of
from petset.cluster.control.writes import Create, Delete, Record, Update
from tests.builders import claim, claim_template, pod_template, stateful_set
from tests.unit.controllers.statefulset_kit import created, decide, new_name, pods_of, revision, steps


def test_a_pod_as_a_whole() -> None:
    template = pod_template(terminationGracePeriodSeconds=10)
    template["metadata"] |= {"annotations": {"note": "x"}, "finalizers": ["example.com/keep"]}
    owner = stateful_set(template=template, spec={"serviceName": "peers", "ordinals": {"start": 4}})
    assert created(decide(owner), "web-4") == {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": "web-4",
            "generateName": "web-",
            "namespace": "default",
            "labels": {
                "app": "web",
                "statefulset.kubernetes.io/pod-name": "web-4",
                "apps.kubernetes.io/pod-index": "4",
                "controller-revision-hash": new_name(owner),
            },
            "annotations": {"note": "x"},
            "finalizers": ["example.com/keep"],
            "ownerReferences": [controller_reference(owner)],
        },
        "spec": {
            "containers": [{"name": "main", "image": "web:1"}],
            "terminationGracePeriodSeconds": 10,
            "hostname": "web-4",
            "subdomain": "peers",
        },
    }


def test_without_a_service_name_there_is_no_subdomain() -> None:
    spec = created(decide(stateful_set(spec={"serviceName": ""})), "web-0")["spec"]
    assert spec["hostname"] == "web-0"
    assert "subdomain" not in spec


def test_the_templates_hostname_and_subdomain_are_overruled() -> None:
    owner = stateful_set(template=pod_template(hostname="mine", subdomain="mine"))
    spec = created(decide(owner), "web-0")["spec"]
    assert (spec["hostname"], spec["subdomain"]) == ("web-0", "web")


def _claimed(name: str, ordinal: int = 0) -> Object:
    return {"name": name, "persistentVolumeClaim": {"claimName": f"{name}-web-{ordinal}"}}


@pytest.mark.parametrize(
    ("claims", "volumes", "expected"),
    [
        pytest.param([], None, None, id="none"),
        pytest.param(["data"], None, [_claimed("data")], id="one"),
        pytest.param(["log", "data"], None, [_claimed("log"), _claimed("data")], id="in-template-order"),
        pytest.param(
            ["data"],
            [{"name": "tmp", "emptyDir": {}}],
            [_claimed("data"), {"name": "tmp", "emptyDir": {}}],
            id="beside-the-templates-volumes",
        ),
        pytest.param(["data"], [{"name": "data", "emptyDir": {}}], [_claimed("data")], id="replacing-one-of-the-name"),
        pytest.param([], [{"name": "tmp", "emptyDir": {}}], [{"name": "tmp", "emptyDir": {}}], id="only-volumes"),
    ],
)
def test_volumes(claims: list[str], volumes: list[Object] | None, expected: list[Object] | None) -> None:
    template = pod_template(volumes=volumes) if volumes else pod_template()
    pod = created(decide(stateful_set(template=template, claims=claims)), "web-0")
    assert pod["spec"].get("volumes") == expected


def test_a_claim_as_a_whole() -> None:
    template = claim_template("data", "5Gi")
    template["metadata"] |= {"labels": {"app": "overlaid", "tier": "db"}, "annotations": {"note": "x"}}
    template |= {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "status": {"phase": "Pending"}}
    owner = stateful_set(spec={"volumeClaimTemplates": [template], "ordinals": {"start": 10}})
    assert created(decide(owner), "data-web-10") == {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {
            "name": "data-web-10",
            "namespace": "default",
            "labels": {"app": "web", "tier": "db"},
            "annotations": {"note": "x"},
        },
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "5Gi"}}},
    }


def test_match_expressions_put_no_label_on_a_claim() -> None:
    selector = {"matchExpressions": [{"key": "app", "operator": "Exists"}]}
    owner = stateful_set(claims=["data"], spec={"selector": selector})
    assert "labels" not in created(decide(owner), "data-web-0")["metadata"]


def test_an_existing_claim_is_used_as_it_is() -> None:
    """Also when its template has changed since (through delete --cascade=orphan and a new set)."""
    owner = stateful_set(claims=["data", "log"])
    outcome = decide(owner, revision(owner), claim("data-web-0", storage="99Gi"))
    assert steps(outcome, "PersistentVolumeClaim", "Pod") == ["create log-web-0", "create web-0"]


def test_events_of_a_creation_claims_first() -> None:
    owner = stateful_set(claims=["data"])
    writes = [each for each in decide(owner, revision(owner)).writes if isinstance(each, Create)]
    assert [each.said for each in writes] == [
        Record(owner, "Normal", "SuccessfulCreate", "create Claim data-web-0 Pod web-0 in StatefulSet web success"),
        Record(owner, "Normal", "SuccessfulCreate", "create Pod web-0 in StatefulSet web successful"),
    ]
    assert [each.failed for each in writes] == [
        Record(
            owner,
            "Warning",
            "FailedCreate",
            "create Claim data-web-0 for Pod web-0 in StatefulSet web failed error: {error}",
        ),
        Record(owner, "Warning", "FailedCreate", "create Pod web-0 in StatefulSet web failed error: {error}"),
    ]


@pytest.mark.parametrize("states", ["R R R F", "F R R"])
def test_events_of_a_deletion(states: str) -> None:
    owner = stateful_set()
    outcome = decide(owner, revision(owner), pods_of(owner, states))
    [deletion] = [each for each in outcome.writes if isinstance(each, Delete)]
    name = deletion.name
    assert deletion == Delete(
        kind="Pod",
        namespace="default",
        name=name,
        uid=f"uid-pod-{name}",
        said=Record(owner, "Normal", "SuccessfulDelete", f"delete Pod {name} in StatefulSet web successful"),
        failed=Record(
            owner, "Warning", "FailedDelete", f"delete Pod {name} in StatefulSet web failed error: {{error}}"
        ),
    )
    assert deletion.grace_seconds is None


def test_events_of_an_update() -> None:
    owner = stateful_set(replicas=1)
    pods = pods_of(owner, "R")
    del pods[0]["metadata"]["labels"]["statefulset.kubernetes.io/pod-name"]
    outcome = decide(owner, revision(owner), pods)
    [update] = [each for each in outcome.writes if isinstance(each, Update) and name_of(each.object) == "web-0"]
    assert update.said == Record(owner, "Normal", "SuccessfulUpdate", "update Pod web-0 in StatefulSet web successful")
    assert update.failed == Record(
        owner, "Warning", "FailedUpdate", "update Pod web-0 in StatefulSet web failed error: {error}"
    )


@pytest.mark.parametrize(
    ("states", "verb"),
    [pytest.param(".", "create", id="create"), pytest.param("R", "update", id="update")],
)
def test_events_where_a_claim_is_still_going(states: str, verb: str) -> None:
    owner = stateful_set(replicas=1, claims=["data", "log"])
    pods = pods_of(owner, states)
    for pod in pods:
        pod["spec"]["volumes"] = []
    going = [claim("data-web-0", terminating=True), claim("log-web-0", terminating=True)]
    outcome = decide(owner, revision(owner), pods, going)
    error = "[pvc data-web-0 is being deleted, pvc log-web-0 is being deleted]"
    assert outcome.error == error
    assert [each for each in outcome.writes if isinstance(each, Record)] == [
        Record(owner, "Warning", f"Failed{verb.title()}", f"{verb} Pod web-0 in StatefulSet web failed error: {error}")
    ]


def test_a_revision_a_roll_and_a_status_say_nothing() -> None:
    owner = stateful_set()
    writes = decide(owner).writes
    silent = [each for each in writes if isinstance(each, Create | Update) and each.said is None]
    assert [each.object["kind"] for each in silent] == ["ControllerRevision", "StatefulSet"]
