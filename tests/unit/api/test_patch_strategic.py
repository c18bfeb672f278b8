"""Strategic merge patch with the official definitions: a table per part of an object, and properties."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from petset.cluster.api.patch import apply_strategic_patch
from petset.cluster.api.patch_schema import DefinitionsPatchSchema
from petset.cluster.api.schema import load_schemas
from petset.cluster.errors import BadRequest
from tests.unit.api.purity import untouched

DEFINITIONS = load_schemas().definitions
POD = DefinitionsPatchSchema(DEFINITIONS, "io.k8s.api.core.v1.Pod")
STATEFUL_SET = DefinitionsPatchSchema(DEFINITIONS, "#/$defs/io.k8s.api.apps.v1.StatefulSet")
DEPLOYMENT = DefinitionsPatchSchema(DEFINITIONS, "io.k8s.api.apps.v1.Deployment")
BUDGET = DefinitionsPatchSchema(DEFINITIONS, "io.k8s.api.policy.v1.PodDisruptionBudget")
NODE = DefinitionsPatchSchema(DEFINITIONS, "io.k8s.api.core.v1.Node")
SERVICE = DefinitionsPatchSchema(DEFINITIONS, "io.k8s.api.core.v1.Service")


def strategic(live: Any, patch: Any, schema: DefinitionsPatchSchema = POD) -> Any:
    return untouched(live, patch, lambda: apply_strategic_patch(live, patch, schema))


def spec(**fields: Any) -> dict[str, Any]:
    return {"spec": fields}


def meta(**fields: Any) -> dict[str, Any]:
    return {"metadata": fields}


def web(**fields: Any) -> dict[str, Any]:
    return {"name": "web", "image": "web:1", **fields}


LOG = {"name": "log", "image": "log:1"}


class TestStrategicObjects:
    @pytest.mark.parametrize(
        ("live", "patch", "expected"),
        [
            pytest.param({"a": 1, "b": {"c": 1}}, {"b": {"d": 2}}, {"a": 1, "b": {"c": 1, "d": 2}}, id="unknown merge"),
            pytest.param({"a": [1]}, {"a": [2]}, {"a": [2]}, id="unknown lists replace"),
            pytest.param(meta(labels={"a": "1", "b": "2"}), meta(labels={"a": None, "c": "3"}),
                         meta(labels={"b": "2", "c": "3"}), id="null deletes a key"),
            pytest.param(meta(labels={"a": "1"}), meta(labels=None), meta(), id="null deletes a map"),
            pytest.param(meta(labels={"a": "1"}), meta(annotations={"b": None}),
                         meta(labels={"a": "1"}, annotations={}), id="nulls of a new map vanish"),
            pytest.param(meta(labels={"a": "1"}), meta(labels={"$patch": "replace", "b": "2"}),
                         meta(labels={"b": "2"}), id="replace a map"),
            pytest.param(meta(labels={"a": "1"}), meta(labels={"$patch": "delete", "b": "2"}),
                         meta(labels={}), id="empty a map"),
            pytest.param(meta(), meta(labels={"$patch": "replace", "b": "2", "c": None}),
                         meta(labels={"b": "2"}), id="replace an absent map"),
            pytest.param(meta(), meta(labels={"$patch": "delete"}), meta(), id="empty an absent map"),
            pytest.param({"a": 1}, {"$patch": "replace", "b": 2}, {"b": 2}, id="replace the whole object"),
            pytest.param(meta(labels="broken"), meta(labels={"a": "1"}), meta(labels={"a": "1"}), id="other type"),
        ],
    )  # fmt: skip
    def test_objects(self, live: Any, patch: Any, expected: Any) -> None:
        assert strategic(live, patch) == expected

    def test_rollout_undo_replaces_the_template(self) -> None:
        live = spec(replicas=3, template={"metadata": {"annotations": {"restartedAt": "now"}}, "spec": {"a": 1}})
        data = spec(template={"$patch": "replace", "metadata": {"creationTimestamp": None}, "spec": {"b": 2}})
        assert strategic(live, data, STATEFUL_SET) == spec(replicas=3, template={"metadata": {}, "spec": {"b": 2}})

    def test_retain_keys_switches_a_union(self) -> None:
        live = spec(strategy={"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1}})
        patch = spec(strategy={"$retainKeys": ["type"], "type": "Recreate"})
        assert strategic(live, patch, DEPLOYMENT) == spec(strategy={"type": "Recreate"})

    def test_a_selector_of_a_budget_is_replaced(self) -> None:
        live = spec(minAvailable=1, selector={"matchLabels": {"a": "1"}, "matchExpressions": []})
        patch = spec(selector={"matchLabels": {"b": "2"}})
        assert strategic(live, patch, BUDGET) == spec(minAvailable=1, selector={"matchLabels": {"b": "2"}})


class TestStrategicLists:
    @pytest.mark.parametrize(
        ("live", "patch", "expected"),
        [
            pytest.param([web()], [{"name": "web", "image": "web:2"}], [web(image="web:2")], id="merge by name"),
            pytest.param([web()], [LOG], [LOG, web()], id="new elements come first"),
            pytest.param([web(), LOG], [{"name": "log", "tty": True}], [web(), {**LOG, "tty": True}], id="order stays"),
            pytest.param([web(), LOG], [LOG, web()], [LOG, web()], id="the patch's order wins"),
            pytest.param([web(), LOG], [{"name": "web", "$patch": "delete"}], [LOG], id="delete"),
            pytest.param([LOG], [{"name": "web", "$patch": "delete"}], [LOG], id="delete an absent element"),
            pytest.param([web(), LOG], [{"$patch": "replace"}, {"name": "x"}], [{"name": "x"}], id="replace the list"),
            pytest.param([web(), LOG], [{"$patch": "replace"}], [], id="empty the list"),
            pytest.param([web(tty=True)], [{"name": "web", "tty": None}], [web()], id="null in an element"),
            pytest.param([web(args=["a"])], [web(args=["b"])], [web(args=["b"])], id="args is atomic"),
            pytest.param([web(env=[{"name": "A", "value": "1"}, {"name": "B", "value": "2"}])],
                         [{"name": "web", "env": [{"name": "B", "value": "3"}, {"name": "A", "$patch": "delete"}]}],
                         [web(env=[{"name": "B", "value": "3"}])], id="env by name, in a container by name"),
            pytest.param([web(env=[{"name": "A", "value": "1"}])],
                         [{"name": "web", "env": [{"name": "A", "value": None, "valueFrom": {"f": 1}}]}],
                         [web(env=[{"name": "A", "valueFrom": {"f": 1}}])], id="value becomes valueFrom"),
            pytest.param([web(ports=[{"containerPort": 80}, {"containerPort": 81}])],
                         [{"name": "web", "ports": [{"containerPort": 80, "name": "http"}]}],
                         [web(ports=[{"containerPort": 80, "name": "http"}, {"containerPort": 81}])], id="ports"),
            pytest.param([web(ports=[{"containerPort": 53, "protocol": "UDP"},
                                     {"containerPort": 53, "protocol": "TCP"}])],
                         [{"name": "web", "ports": [{"containerPort": 53, "name": "dns"}]}],
                         [web(ports=[{"containerPort": 53, "protocol": "UDP", "name": "dns"},
                                     {"containerPort": 53, "protocol": "TCP"}])], id="equal keys: the first one"),
            pytest.param([web()], [{"name": "web", "ports": [{"containerPort": 53, "protocol": p} for p in "TU"]}],
                         [web(ports=[{"containerPort": 53, "protocol": p} for p in "TU"])],
                         id="equal keys in a new list"),
            pytest.param([web(volumeMounts=[{"name": "v", "mountPath": "/a"}])],
                         [{"name": "web", "volumeMounts": [{"name": "v", "mountPath": "/b"}]}],
                         [web(volumeMounts=[{"name": "v", "mountPath": "/b"}, {"name": "v", "mountPath": "/a"}])],
                         id="mounts by path"),
            pytest.param([], [{"name": "x", "$patch": "delete"}, {"name": "y", "tty": None}], [{"name": "y"}],
                         id="into an empty list"),
        ],
    )  # fmt: skip
    def test_containers(self, live: Any, patch: Any, expected: Any) -> None:
        assert strategic(spec(containers=live), spec(containers=patch)) == spec(containers=expected)

    def test_a_new_list_has_no_directives(self) -> None:
        patch = spec(containers=[{"$patch": "replace"}, {**LOG, "env": None, "$retainKeys": ["name", "image"]}])
        assert strategic(spec(), patch) == spec(containers=[LOG])

    def test_a_new_list_is_not_judged(self) -> None:
        """What it lacks is for validation to say, field by field."""
        patch = spec(containers=[{"image": "web:1"}])
        assert strategic(spec(), patch) == patch

    @pytest.mark.parametrize(
        ("live", "patch", "expected"),
        [
            pytest.param(spec(tolerations=[{"key": "a"}]), spec(tolerations=[{"key": "b"}]),
                         spec(tolerations=[{"key": "b"}]), id="tolerations are atomic"),
            pytest.param(meta(ownerReferences=[{"uid": "1", "name": "a"}, {"uid": "2", "name": "b"}]),
                         meta(ownerReferences=[{"$patch": "delete", "uid": "1"}], uid="u"),
                         meta(ownerReferences=[{"uid": "2", "name": "b"}], uid="u"), id="release: ownerReferences"),
            pytest.param(meta(ownerReferences=[{"uid": "1", "controller": False}]),
                         meta(ownerReferences=[{"uid": "1", "controller": True}]),
                         meta(ownerReferences=[{"uid": "1", "controller": True}]), id="adopt: ownerReferences"),
            pytest.param(meta(finalizers=["a"]), meta(finalizers=["b", "a"]), meta(finalizers=["b", "a"]),
                         id="finalizers merge"),
            pytest.param(meta(finalizers=["a", "b"]), meta(finalizers=["c"]), meta(finalizers=["c", "a", "b"]),
                         id="finalizers add"),
            pytest.param(meta(finalizers=["a", "b"]), {"metadata": {"$deleteFromPrimitiveList/finalizers": ["a"]}},
                         meta(finalizers=["b"]), id="finalizers delete"),
            pytest.param(meta(finalizers=["a"]), {"metadata": {"$deleteFromPrimitiveList/finalizers": ["a"],
                                                               "$setElementOrder/finalizers": ["b"],
                                                               "finalizers": ["b"]}},
                         meta(finalizers=["b"]), id="finalizers delete, add, order"),
            pytest.param(meta(), {"metadata": {"$deleteFromPrimitiveList/finalizers": ["a"]}}, meta(),
                         id="delete from an absent list"),
            pytest.param(spec(volumes=[{"name": "v", "emptyDir": {}}]),
                         spec(volumes=[{"$retainKeys": ["name", "hostPath"], "name": "v", "hostPath": {"path": "/"}}]),
                         spec(volumes=[{"name": "v", "hostPath": {"path": "/"}}]), id="volume changes its source"),
            pytest.param({"status": {"conditions": [{"type": "Ready", "reason": "r"}, {"type": "X"}]}},
                         {"status": {"conditions": [{"type": "Ready", "status": "False", "reason": None}]}},
                         {"status": {"conditions": [{"type": "Ready", "status": "False"}, {"type": "X"}]}},
                         id="conditions by type"),
        ],
    )  # fmt: skip
    def test_other_lists(self, live: Any, patch: Any, expected: Any) -> None:
        assert strategic(live, patch) == expected

    def test_node_taints_are_atomic(self) -> None:
        live, patch = spec(taints=[{"key": "a", "effect": "NoSchedule"}]), spec(taints=[{"key": "b"}])
        assert strategic(live, patch, NODE) == patch

    def test_service_ports_merge_by_port(self) -> None:
        live = spec(ports=[{"port": 80, "nodePort": 30080}, {"port": 81}])
        patch = spec(ports=[{"port": 80, "targetPort": 8080}])
        expected = spec(ports=[{"port": 80, "nodePort": 30080, "targetPort": 8080}, {"port": 81}])
        assert strategic(live, patch, SERVICE) == expected

    def test_inside_the_template_of_a_set(self) -> None:
        live = spec(template=spec(containers=[web(), LOG]))
        patch = spec(template=spec(containers=[{"name": "log", "image": "log:2"}]))
        expected = spec(template=spec(containers=[web(), {**LOG, "image": "log:2"}]))
        assert strategic(live, patch, STATEFUL_SET) == expected

    def test_a_live_element_without_its_key_is_left_alone(self) -> None:
        live = spec(imagePullSecrets=[{}, {"name": "a"}])
        assert strategic(live, spec(imagePullSecrets=[{"name": "a", "x": 1}])) == spec(
            imagePullSecrets=[{"name": "a", "x": 1}, {}]
        )


class TestElementOrder:
    @staticmethod
    def named(names: str) -> list[dict[str, Any]]:
        return [{"name": name} for name in names]

    @pytest.mark.parametrize(
        ("live", "patch", "order", "expected"),
        [
            pytest.param("abc", None, "cba", "cba", id="order alone"),
            pytest.param("abc", "", "ca", "bca", id="an unknown one keeps its place before the next known one"),
            pytest.param("xay", None, "a", "xay", id="unknown ones around a known one"),
            pytest.param("ab", "c", "acb", "acb", id="insert between"),
            pytest.param("asb", "n", "nab", "nasb", id="a sidecar stays before the container it preceded"),
            pytest.param("", "ba", "ba", "ba", id="new list"),
            pytest.param("ab", "b", "b", "ab", id="order of one"),
            pytest.param("ab", None, "", "ab", id="empty order"),
        ],
    )
    def test_containers(self, live: str, patch: str | None, order: str, expected: str) -> None:
        body: dict[str, Any] = {"$setElementOrder/containers": self.named(order)}
        if patch is not None:
            body["containers"] = self.named(patch)
        assert strategic(spec(containers=self.named(live)), spec(**body)) == spec(containers=self.named(expected))

    def test_scalars(self) -> None:
        patch = {"metadata": {"$setElementOrder/finalizers": ["b", "a"]}}
        assert strategic(meta(finalizers=["a", "s", "b"]), patch) == meta(finalizers=["s", "b", "a"])

    def test_of_an_absent_list(self) -> None:
        assert strategic(spec(), {"spec": {"$setElementOrder/containers": [{"name": "a"}]}}) == spec()

    def test_of_an_atomic_list_changes_nothing(self) -> None:
        live = spec(tolerations=[{"key": "a"}, {"key": "b"}])
        assert strategic(live, {"spec": {"$setElementOrder/tolerations": [{"key": "b"}]}}) == live


class TestStrategicGarbage:
    @pytest.mark.parametrize(
        "patch",
        [
            pytest.param([], id="no object"),
            pytest.param(None, id="null"),
            pytest.param({"$patch": "bogus"}, id="unknown directive"),
            pytest.param({"$patch": "merge", "a": 1}, id="merge is no directive of an object"),
            pytest.param({"$patch": ["replace"]}, id="directive that is no text"),
            pytest.param(spec(containers=[{"$patch": "merge", "name": "web"}]), id="merge is none of an element"),
            pytest.param(spec(containers=[{"image": "x"}]), id="no merge key"),
            pytest.param(spec(containers=[{"name": None}]), id="null merge key"),
            pytest.param(spec(containers=[{"name": {"a": 1}}]), id="merge key that is no value"),
            pytest.param(spec(containers=[{"$patch": "delete"}]), id="delete without a merge key"),
            pytest.param(spec(containers=["web"]), id="values in a list of objects"),
            pytest.param(spec(containers=[[]]), id="list of lists"),
            pytest.param(meta(finalizers=[{"a": 1}]), id="objects in a list of values"),
            pytest.param({"spec": {"$setElementOrder/containers": "web"}}, id="order that is no list"),
            pytest.param({"spec": {"$setElementOrder/containers": [{"x": 1}]}}, id="order without merge keys"),
            pytest.param({"spec": {"$setElementOrder/containers": ["web"]}}, id="order of values"),
            pytest.param({"spec": {"$setElementOrder/containers": [{"name": "a"}, {"name": "web"}],
                                   "containers": [{"name": "web"}, {"name": "a"}]}}, id="order and patch disagree"),
            pytest.param({"spec": {"$setElementOrder/containers": [{"name": "a"}], "containers": [web()]}},
                         id="element that is not in the order"),
            pytest.param({"metadata": {"$deleteFromPrimitiveList/finalizers": "a"}}, id="deletions that are no list"),
            pytest.param({"metadata": {"$deleteFromPrimitiveList/finalizers": [{}]}}, id="deletions of objects"),
            pytest.param(spec(**{"$retainKeys": "containers"}), id="retainKeys that is no list"),
            pytest.param(spec(**{"$retainKeys": ["containers"], "nodeName": "n"}), id="field that is not retained"),
        ],
    )  # fmt: skip
    def test_bad_request(self, patch: Any) -> None:
        live = {"metadata": {"finalizers": ["a"]}, "spec": {"containers": [web()]}}
        with pytest.raises(BadRequest):
            strategic(live, patch)

    def test_nested_too_deeply(self) -> None:
        patch: Any = {}
        for _ in range(5000):
            patch = {"a": patch}
        with pytest.raises(BadRequest, match="too deeply"):
            apply_strategic_patch({"a": {"a": {}}}, patch, POD)


FEW = settings(max_examples=150)
NAMES = st.lists(st.sampled_from("abcdef"), unique=True)


@st.composite
def container_lists(draw: st.DrawFn, extra: st.SearchStrategy[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{**draw(extra), "name": name} for name in draw(NAMES)]


LIVE_FIELDS = st.fixed_dictionaries({}, optional={"image": st.sampled_from("12"), "args": st.just(["a"])})
PATCH_FIELDS = st.fixed_dictionaries(
    {},
    optional={
        "image": st.sampled_from("12") | st.none(),
        "$patch": st.just("delete"),
        "env": st.lists(st.sampled_from("AB"), unique=True).map(lambda names: [{"name": name} for name in names]),
    },
)


@st.composite
def pod_patches(draw: st.DrawFn) -> dict[str, Any]:
    elements = draw(container_lists(PATCH_FIELDS))
    if draw(st.booleans()):
        elements.insert(draw(st.integers(0, len(elements))), {"$patch": "replace"})
    body: dict[str, Any] = {"containers": elements}
    if draw(st.booleans()):
        kept = [each["name"] for each in elements if "$patch" not in each]
        others = [name for name in draw(NAMES) if name not in kept]
        body["$setElementOrder/containers"] = [{"name": name} for name in kept + others]
    return spec(**body)


@FEW
@given(container_lists(LIVE_FIELDS), pod_patches())
def test_a_strategic_patch_twice_is_as_once(live: list[dict[str, Any]], patch: dict[str, Any]) -> None:
    once = strategic(spec(containers=live), patch)
    assert strategic(once, patch) == once


@FEW
@given(container_lists(LIVE_FIELDS), pod_patches())
def test_the_named_elements_are_in_order_and_no_other_is_lost(
    live: list[dict[str, Any]], patch: dict[str, Any]
) -> None:
    elements = patch["spec"]["containers"]
    result = [each["name"] for each in strategic(spec(containers=live), patch)["spec"]["containers"]]
    kept = [each["name"] for each in elements if "$patch" not in each]
    assert [name for name in result if name in kept] == kept
    if not any(each.get("$patch") == "replace" for each in elements):
        untouched_names = {each["name"] for each in live} - {each["name"] for each in elements}
        assert set(result) == untouched_names | set(kept)
