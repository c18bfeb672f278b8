"""Each oracle, by hand: what it must accuse, what it must not, and what it waives."""

from __future__ import annotations

import math
from typing import Any

import pytest

from petset.cluster.api.objects import Object
from petset.cluster.chaos.observations import Change, Gap, NameAnswer, Observations, Sample
from petset.cluster.chaos.oracles import claims, convergence, durability, identity, leftovers, ordering, services
from petset.cluster.chaos.oracles.verdict import Verdict
from petset.cluster.chaos.settled import unsettled_workload
from tests.builders import EPOCH, claim, pod
from tests.unit.chaos.seen import SET, change, injected, journal, member, observations, process, sample, write


def accusations(verdict: Verdict) -> list[str]:
    return [violation.what for violation in verdict.broken]


OLD, NEW = process("web-0", "a", "node-1"), process("web-0", "b", "node-2", since=5)


@pytest.mark.parametrize(
    ("samples", "seconds"),
    [
        pytest.param([sample(1, OLD), sample(6, NEW)], None, id="one after the other"),
        pytest.param([sample(1, OLD), sample(7, OLD, NEW)], 2.0, id="both in one sample"),
        pytest.param([sample(1, OLD), sample(7, OLD), sample(9, NEW)], 2.0, id="the older outlived the newer's start"),
        pytest.param([sample(4, OLD, NEW, seconds=3)], None, id="a sample that took its time proves nothing"),
        pytest.param([sample(9, OLD, process("web-0", "a", "node-1", container="side"))], None, id="two containers"),
        pytest.param([sample(9, OLD, process("web-1", "b", "node-1"))], None, id="two identities"),
        pytest.param([sample(9, OLD, process("web-0", "a", "node-2"))], 9.0, id="one pod on two nodes"),
    ],
)  # fmt: skip
def test_one_process_per_identity(samples: list[Sample], seconds: float | None) -> None:
    verdict = identity.judge(observations(samples=samples))
    assert [violation.duration_seconds for violation in verdict.broken] == ([] if seconds is None else [seconds])
    assert all(violation.evidence["processes"] for violation in verdict.broken)


def test_what_the_user_forced_is_waived_with_its_duration() -> None:
    forced = injected(4, deed="delete-pod", forced=("a",))
    verdict = identity.judge(observations(samples=[sample(8, OLD, NEW)], injected=[forced]))
    assert verdict.held
    [waived] = verdict.waived
    assert waived.duration_seconds == 3.0
    assert waived.waived == "the user deleted the older pod by force"


def test_each_second_process_is_accused_once_however_many_run() -> None:
    crowd = [process("web-0", f"uid-{number}", "node-1", since=float(number)) for number in range(5)]
    verdict = identity.judge(observations(samples=[sample(8, *crowd)]))
    assert [violation.duration_seconds for violation in verdict.broken] == [7.0, 6.0, 5.0, 4.0]


def test_a_force_of_the_newer_pod_waives_nothing() -> None:
    forced = injected(4, deed="delete-pod", forced=("b",))
    assert not identity.judge(observations(samples=[sample(8, OLD, NEW)], injected=[forced])).held


def test_who_does_not_look_at_the_machines_has_proved_nothing() -> None:
    up = change(0, member(0, ready=True), "ADDED")
    [blind] = identity.judge(observations(up)).broken
    assert blind.what == "no sample shows a process of web-0"
    short = [change(50, member(0, ready=True), "ADDED"), change(59, member(0))]
    assert identity.judge(observations(*short)).held, "a pod may come and go between two samples"
    looked = identity.judge(observations(up, samples=[sample(9, OLD), sample(12, OLD), sample(55, OLD)]))
    assert looked.held
    assert looked.notes == ("the machines were not looked at for 43 s",)


FOREIGN = {"volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": "data-web-1"}}]}
OWN = {"volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": "data-web-0"}}]}
NEIGHBOURS = {"volumes": [{"name": "more", "persistentVolumeClaim": {"claimName": "data-web-1"}}]}
BOUND = claim("data-web-0", volume="pv-a")


@pytest.mark.parametrize(
    ("changes", "accused"),
    [
        pytest.param([change(1, member(0), "ADDED")], [], id="its own claim"),
        pytest.param(
            [change(1, member(0, spec=FOREIGN), "ADDED")],
            ["web-0 mounts the claim data-web-1 as data, not its own, data-web-0"], id="another's claim",
        ),
        pytest.param([change(1, pod("stray", spec=FOREIGN), "ADDED")], [], id="nobody's pod may mount what it likes"),
        pytest.param(
            [change(1, member(0, spec={"volumes": [*OWN["volumes"], *NEIGHBOURS["volumes"]]}), "ADDED")],
            ["web-0 mounts the claim data-web-1 of another identity as more"], id="its own claim and another's",
        ),
        pytest.param(
            [change(1, BOUND), change(2, claim("data-web-0", volume="pv-b"))],
            ["the claim data-web-0 changed its volume from pv-a to pv-b"], id="another volume",
        ),
        pytest.param(
            [change(1, BOUND), change(2, claim("data-web-1", volume="pv-a"))],
            ["the volume pv-a is bound to data-web-0 and to data-web-1"], id="one volume for two claims",
        ),
        pytest.param(
            [change(1, BOUND), change(2, BOUND, "DELETED"), change(3, claim("data-web-0", uid="2", volume="pv-a"))],
            [], id="a volume that was released",
        ),
    ],
)  # fmt: skip
def test_claims_are_never_shared_or_swapped(changes: list[Change], accused: list[str]) -> None:
    assert accusations(claims.judge(observations(change(0, SET, "ADDED"), *changes))) == accused


def test_a_pod_that_is_seen_before_its_set_is_judged_too() -> None:
    seen = observations(change(0, member(0, spec=FOREIGN), "ADDED"), change(1, SET, "ADDED"))
    assert len(claims.judge(seen).broken) == 1


@pytest.mark.parametrize(
    ("writes", "journals", "accused"),
    [
        pytest.param([write("web-0:1")], [journal("web-0", "web-0:1")], [], id="all there"),
        pytest.param(
            [write("web-0:1"), write("web-0:2")], [journal("web-0", "web-0:2")],
            ["web-0 lost 1 acknowledged writes (1 others are there): web-0:1"], id="lost",
        ),
        pytest.param(
            [write("web-0:1")], [journal("web-0", error="connection refused")],
            ["web-0 lost 1 acknowledged writes (connection refused): web-0:1"], id="a journal that cannot be read",
        ),
        pytest.param(
            [write("web-0:1")], [], ["web-0 lost 1 acknowledged writes (it has no journal): web-0:1"], id="no journal"
        ),
        pytest.param([write("web-0:1", "unknown")], [journal("web-0")], [], id="an unknown one that is not there"),
        pytest.param([write("web-0:1", "unknown")], [journal("web-0", "web-0:1")], [], id="an unknown one that is"),
        pytest.param(
            [write("web-0:1", "refused")], [journal("web-0", "web-0:1")], ["web-0 has web-0:1, which was refused"],
            id="a refused one that is there",
        ),
        pytest.param(
            [write("web-0:1", "unknown")], [journal("web-0"), journal("web-1", "web-0:1")],
            ["web-1 has web-0:1, which belongs to web-0"], id="on another's disk",
        ),
        pytest.param(
            [write("service/web:1", by="web-1")], [journal("web-0"), journal("web-1", "service/web:1")], [],
            id="through the service",
        ),
        pytest.param(
            [write("service/web:1", by="web-1")],
            [journal("web-0", "service/web:1"), journal("web-1", "service/web:1")],
            ["web-0 has service/web:1, which belongs to web-1"], id="stored in two places",
        ),
        pytest.param(
            [write("web-0:1")], [journal("web-0", "web-0:1", "web-0:1")], ["web-0 has web-0:1 more than once"],
            id="doubled",
        ),
        pytest.param(
            [write("web-0:1"), write("web-0:2")], [journal("web-0", "web-0:2", "web-0:1")],
            ["web-0 has web-0:2 before web-0:1, which is older"], id="out of order",
        ),
        pytest.param([], [journal("web-0", "hello")], ["web-0 has hello, which nobody sent"], id="nobody's entry"),
        pytest.param(
            [write("service/web:1", "unknown")], [journal("web-0", "service/web:1"), journal("web-1", "service/web:1")],
            ["web-1 has service/web:1, which web-0 has too"], id="an unknown one, stored twice",
        ),
        pytest.param(
            [write(f"web-0:{at}") for at in range(1, 4)], [journal("web-0", *(f"web-0:{at}" for at in "112233"))],
            ["web-0 has web-0:1, web-0:2, web-0:3 more than once"], id="many of a kind are one accusation",
        ),
    ],
)  # fmt: skip
def test_acknowledged_writes_are_readable(writes: Any, journals: Any, accused: list[str]) -> None:
    verdict = durability.judge(observations(writes=writes, journals=journals))
    assert accusations(verdict) == accused
    assert all(violation.evidence for violation in verdict.broken)


def ready(ordinal: int, revision: str = "web-old") -> Object:
    return member(ordinal, ready=True, revision=revision)


def gone(ordinal: int, revision: str = "web-old", **fields: Any) -> Object:
    return member(ordinal, ready=True, terminating=True, revision=revision, **fields)


DISRUPTED = {"type": "DisruptionTarget", "status": "True"}


@pytest.mark.parametrize(
    ("changes", "accused"),
    [
        pytest.param([change(1, ready(0), "ADDED"), change(2, member(1), "ADDED")], [], id="create after Ready"),
        pytest.param(
            [change(1, member(0), "ADDED"), change(2, member(1), "ADDED")],
            ["web-1 was created although a replica below it was not Ready"], id="create before Ready",
        ),
        pytest.param(
            [change(1, ready(0), "ADDED"), change(2, member(0)), change(9, member(1), "ADDED")], [],
            id="create on news that are a little late",
        ),
        pytest.param(
            [change(1, ready(0), "ADDED"), change(2, member(0)), change(30, member(1), "ADDED")],
            ["web-1 was created although a replica below it was not Ready"], id="create on news that are too old",
        ),
        pytest.param(
            [*[change(at, ready(at), "ADDED") for at in range(3)], change(4, gone(2))],
            [], id="replace the highest first",
        ),
        pytest.param(
            [*[change(at, ready(at), "ADDED") for at in range(3)], change(4, gone(1))],
            ["web-1 was replaced although a replica above it was not updated and Ready, or nothing was to be updated"],
            id="replace before the one above",
        ),
        pytest.param(
            [change(1, ready(0), "ADDED"), change(2, ready(1), "ADDED"), change(3, ready(2, "web-new"), "ADDED"),
             change(4, gone(1))], [], id="replace after the one above",
        ),
        pytest.param(
            [change(1, ready(0), "ADDED"), change(2, ready(1), "ADDED"), change(3, ready(2, "web-new"), "ADDED"),
             change(4, member(1, terminating=True, uid="evicted") | {"status": {"conditions": [DISRUPTED]}})],
            [], id="an eviction follows no order",
        ),
        pytest.param(
            [change(1, ready(0), "ADDED"), change(2, ready(1), "ADDED"), change(3, gone(0, uid="user's"))], [],
            id="nor does the user",
        ),
        pytest.param(
            [change(1, ready(0, "web-new"), "ADDED"), change(2, ready(1, "web-new"), "ADDED"),
             change(3, ready(2, "web-new"), "ADDED"), change(4, gone(2, "web-new"))],
            ["web-2 was replaced although a replica above it was not updated and Ready, or nothing was to be updated"],
            id="replaced for nothing",
        ),
        pytest.param(
            [change(at, ready(at), "ADDED") for at in range(5)] + [change(20, gone(3))],
            ["web-3 was removed although a pod above it was still there"], id="scale down from below",
        ),
        pytest.param(
            [change(at, ready(at), "ADDED") for at in range(5)] + [change(20, gone(4))], [], id="scale down from above"
        ),
        pytest.param(
            [change(at, ready(at), "ADDED") for at in range(5)] + [change(20, ready(3), "DELETED")],
            ["web-3 was removed although a pod above it was still there"], id="scale down from below, without a grace",
        ),
        pytest.param(
            [change(at, ready(at), "ADDED") for at in range(5)]
            + [change(20, gone(4)), change(40, gone(4), "DELETED"), change(41, ready(3), "DELETED")],
            [], id="a deletion is judged when it begins, not again when it ends",
        ),
    ],
)  # fmt: skip
def test_ordered_ready(changes: list[Change], accused: list[str]) -> None:
    by_user = injected(0, deed="delete-pod", deleted=("user's",))
    seen = observations(change(0, SET, "ADDED"), *changes, injected=[by_user])
    assert accusations(ordering.judge(seen)) == accused


def test_the_evidence_is_of_its_time() -> None:
    before, after = change(3, member(0)), [change(at, ready(0)) for at in range(20, 60)]
    seen = observations(
        change(0, SET, "ADDED"), change(1, member(0), "ADDED"), change(2, member(1), "ADDED"), before, *after
    )
    [violation] = ordering.judge(seen).broken
    assert [each["seconds"] for each in violation.evidence["objects"]] == [2.0]
    assert [each["seconds"] for each in seen.history_of("Pod", "web-0", at=EPOCH + 2)] == [1.0, 3.0]


LATE = [change(1, ready(0), "ADDED"), change(2, member(0)), change(40, member(1), "ADDED")]


@pytest.mark.parametrize(
    ("fields", "held"),
    [
        pytest.param({}, False, id="nothing explains it"),
        pytest.param({"injected": [injected(5, 35, fault="freeze", component="controller")]}, True, id="frozen"),
        pytest.param({"injected": [injected(5, 35, fault="freeze", component="kubelet-1")]}, False, id="a kubelet"),
        pytest.param({"injected": [injected(5, math.inf, fault="delay-watch", controller="x", seconds=9)]}, True,
                     id="stale cache"),
        pytest.param({"injected": [injected(5, 35, fault="freeze", component="controller", error="no")]}, False,
                     id="a fault that was refused"),
        pytest.param({"gaps": [Gap("Pod", EPOCH + 30, EPOCH + 41)]}, True, id="a gap of the watch"),
        pytest.param({"removed_at": EPOCH + 39}, True, id="the workload's removal"),
    ],
)  # fmt: skip
def test_old_news_need_a_reason(fields: dict[str, Any], held: bool) -> None:
    assert ordering.judge(observations(change(0, SET, "ADDED"), *LATE, **fields)).held is held


def test_a_parallel_set_has_no_order() -> None:
    parallel = {**SET, "spec": {**SET["spec"], "podManagementPolicy": "Parallel"}}
    changes = [change(0, parallel, "ADDED"), change(1, member(1), "ADDED"), change(2, member(0), "ADDED")]
    assert ordering.judge(observations(*changes)).judged == 0


def headless(**spec: Any) -> Object:
    metadata = {"name": "web", "namespace": "default"}
    body = {"clusterIP": "None", "selector": {"app": "web"}, **spec}
    return {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": body}


def slice_of(*addresses: str, ready: bool = True) -> Object:
    labels = {"kubernetes.io/service-name": "web"}
    endpoints = [{"addresses": [each], "conditions": {"ready": ready}} for each in addresses]
    return {"kind": "EndpointSlice", "metadata": {"name": "web-1", "labels": labels}, "endpoints": endpoints}


UP = pod("web-0", ready=True, ip="10.0.0.1", spec={"subdomain": "web", "hostname": "web-0"})
DOWN = pod("web-1", ip="10.0.0.2")
NAME = "web.default.svc.cluster.local"


@pytest.mark.parametrize(
    ("final", "names", "accused"),
    [
        pytest.param([headless(), UP, DOWN, slice_of("10.0.0.1")], [], [], id="equal"),
        pytest.param([headless(), UP, DOWN, slice_of()], [], ["service web lacks the ready pods 10.0.0.1"], id="lacks"),
        pytest.param(
            [headless(), UP, DOWN, slice_of("10.0.0.1", "10.0.0.2")], [],
            ["service web has 10.0.0.2, which are no ready pods"], id="an unready pod",
        ),
        pytest.param([headless(), UP, slice_of("10.0.0.1"), slice_of("10.0.0.9", ready=False)], [], [], id="not ready"),
        pytest.param(
            [headless(publishNotReadyAddresses=True), UP, DOWN, slice_of("10.0.0.1", "10.0.0.2")], [], [],
            id="published before Ready",
        ),
        pytest.param([headless(), UP, slice_of("10.0.0.1")], [NameAnswer(NAME, ("10.0.0.1",))], [], id="DNS"),
        pytest.param(
            [headless(), UP, slice_of("10.0.0.1")], [NameAnswer(NAME, ("10.0.0.9",))],
            [f"{NAME} is answered with 10.0.0.9, not with 10.0.0.1"], id="DNS of a former pod",
        ),
        pytest.param(
            [headless(), UP, slice_of("10.0.0.1")], [NameAnswer(f"web-0.{NAME}", (), "no such name")],
            [f"web-0.{NAME} is answered with no such name, not with 10.0.0.1"], id="a pod without a name",
        ),
        pytest.param(
            [headless(clusterIP="10.96.0.7"), UP, slice_of("10.0.0.1")], [NameAnswer(NAME, ("10.96.0.7",))], [],
            id="the cluster IP",
        ),
    ],
)  # fmt: skip
def test_services_and_names_are_the_ready_pods(
    final: list[Object], names: list[NameAnswer], accused: list[str]
) -> None:
    assert accusations(services.judge(observations(final=final, names=names))) == accused


@pytest.mark.parametrize(
    ("fields", "held"),
    [
        pytest.param({"converged_at": EPOCH + 89}, True, id="in time"),
        pytest.param({"converged_at": EPOCH + 91}, False, id="late"),
        pytest.param({"converged_at": None, "unsettled": ("web-1 is not Ready",)}, False, id="never"),
    ],
)
def test_convergence_has_a_bound(fields: dict[str, Any], held: bool) -> None:
    assert convergence.judge(observations(**fields)).held is held


@pytest.mark.parametrize(
    ("strategy", "updated", "missing"),
    [
        pytest.param({"type": "RollingUpdate"}, 3, [], id="all are updated"),
        pytest.param({"type": "RollingUpdate"}, 2, ["web has 2 of 3 replicas updated"], id="one is not"),
        pytest.param({"type": "RollingUpdate", "rollingUpdate": {"partition": 2}}, 1, [], id="those below a partition"),
        pytest.param({"type": "OnDelete"}, 0, [], id="the user updates"),
    ],
)
def test_a_set_is_whole_when_what_its_strategy_updates_is(
    strategy: dict[str, Any], updated: int, missing: list[str]
) -> None:
    status = {"observedGeneration": SET["metadata"].get("generation"), "readyReplicas": 3, "updatedReplicas": updated}
    stateful_set = {**SET, "spec": {**SET["spec"], "updateStrategy": strategy}, "status": status}
    assert list(unsettled_workload([stateful_set, *map(ready, range(3))])) == missing


def test_what_is_left_over_is_named() -> None:
    assert leftovers.judge(observations()).word == "nothing to judge"
    assert leftovers.judge(observations(sweeps=2)).word == "held"
    [violation] = leftovers.judge(observations(leftovers=["process 7 of default/web-0"])).broken
    assert "process 7 of default/web-0" in violation.what


def test_an_empty_run_has_no_violation_but_proves_nothing() -> None:
    seen: Observations = observations()
    assert identity.judge(seen).judged == claims.judge(seen).judged == durability.judge(seen).judged == 0
