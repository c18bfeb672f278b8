from __future__ import annotations

import base64
from typing import Any

import pytest

from petset.cluster.api.objects import Object
from petset.cluster.kubelet.downward import ConfigError, PodFacts
from petset.cluster.kubelet.environment import container_environment, container_spec, expand, service_variables
from tests.unit.kubelet.builders import container, pod

FACTS = PodFacts("web-0", "10.244.1.5", "10.0.0.1", "node-1", {"cpu": "4", "memory": "8Gi"})
SOURCES: dict[tuple[str, str], Object] = {
    ("ConfigMap", "settings"): {
        "kind": "ConfigMap",
        "metadata": {"name": "settings"},
        "data": {"mode": "fast", "not a name!": "x"},
    },
    ("Secret", "login"): {
        "kind": "Secret",
        "metadata": {"name": "login"},
        "data": {"password": base64.b64encode(b"sesame").decode()},
    },
}


def environment(**spec: Any) -> dict[str, str]:
    return container_environment(
        pod(serviceAccountName="robot"), container(**spec), sources=SOURCES, services=(), facts=FACTS
    )


def value_from(**reference: Any) -> str | None:
    return environment(env=[{"name": "X", "valueFrom": reference}]).get("X")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("$(A)-$(B)", "1-2", id="references"),
        pytest.param("$(C)", "$(C)", id="unknown stays literal"),
        pytest.param("$$(A)", "$(A)", id="escaped"),
        pytest.param("$A ${A} $", "$A ${A} $", id="other dollars stay"),
        pytest.param("$(A", "$(A", id="unclosed"),
        pytest.param("$$$(A)", "$1", id="escape then reference"),
    ],
)
def test_expansion(text: str, expected: str) -> None:
    assert expand(text, {"A": "1", "B": "2"}) == expected


def test_variables_see_those_before_them_and_win_over_env_from() -> None:
    env = environment(
        envFrom=[{"configMapRef": {"name": "settings"}}],
        env=[{"name": "FIRST", "value": "$(mode)/$(SECOND)"}, {"name": "SECOND", "value": "$(FIRST)!"},
             {"name": "mode", "value": "slow"}],
    )  # fmt: skip
    assert (env["FIRST"], env["SECOND"], env["mode"]) == ("fast/$(SECOND)", "fast/$(SECOND)!", "slow")


def test_env_from_takes_a_prefix_and_leaves_out_what_is_no_name() -> None:
    env = environment(
        envFrom=[{"prefix": "APP_", "configMapRef": {"name": "settings"}}, {"secretRef": {"name": "login"}}]
    )
    assert env == {"HOSTNAME": "web-0", "APP_mode": "fast", "password": "sesame"}


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("metadata.name", "web-0"),
        ("metadata.namespace", "default"),
        ("metadata.uid", "uid-web-0"),
        ("spec.nodeName", "node-1"),
        ("spec.serviceAccountName", "robot"),
        ("status.podIP", "10.244.1.5"),
        ("status.hostIP", "10.0.0.1"),
        ("metadata.labels['app']", ""),
    ],
)
def test_field_references(path: str, value: str) -> None:
    assert value_from(fieldRef={"fieldPath": path}) == value


@pytest.mark.parametrize(
    ("resource", "divisor", "value"),
    [
        pytest.param("limits.cpu", "", "2", id="rounded up to whole cores"),
        pytest.param("limits.cpu", "1m", "1500", id="divided"),
        pytest.param("requests.cpu", "", "0", id="no request"),
        pytest.param("limits.memory", "1Mi", "8192", id="no limit means all of the node"),
    ],
)
def test_resource_references(resource: str, divisor: str, value: str) -> None:
    reference = {"resource": resource, "divisor": divisor}
    env = environment(
        resources={"limits": {"cpu": "1500m"}}, env=[{"name": "X", "valueFrom": {"resourceFieldRef": reference}}]
    )
    assert env["X"] == value


def test_key_references() -> None:
    assert value_from(configMapKeyRef={"name": "settings", "key": "mode"}) == "fast"
    assert value_from(secretKeyRef={"name": "login", "key": "password"}) == "sesame"
    assert value_from(secretKeyRef={"name": "login", "key": "user", "optional": True}) is None
    assert value_from(secretKeyRef={"name": "absent", "key": "user", "optional": True}) is None


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        pytest.param(
            {"configMapKeyRef": {"name": "absent", "key": "k"}}, 'configmap "absent" not found', id="config map"
        ),
        pytest.param({"secretKeyRef": {"name": "absent", "key": "k"}}, 'secret "absent" not found', id="secret"),
        pytest.param(
            {"configMapKeyRef": {"name": "settings", "key": "k"}},
            "couldn't find key k in ConfigMap default/settings",
            id="key",
        ),
        pytest.param({"fieldRef": {"fieldPath": "spec.color"}}, "unsupported fieldPath: spec.color", id="field"),
        pytest.param(
            {"resourceFieldRef": {"resource": "limits.cpu", "containerName": "other"}},
            "container other not found",
            id="container",
        ),
    ],
)
def test_what_is_missing_is_named(reference: Object, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        value_from(**reference)
    assert str(caught.value) == message


def test_a_service_is_found_by_its_variables() -> None:
    ports = [{"name": "http-web", "port": 80}, {"port": 53, "protocol": "UDP"}]
    service = {"metadata": {"name": "my-web"}, "spec": {"clusterIP": "10.96.0.7", "ports": ports}}
    env = service_variables(service)
    assert env["MY_WEB_SERVICE_HOST"] == "10.96.0.7"
    assert (env["MY_WEB_SERVICE_PORT"], env["MY_WEB_SERVICE_PORT_HTTP_WEB"]) == ("80", "80")
    assert (env["MY_WEB_PORT"], env["MY_WEB_PORT_53_UDP"]) == ("tcp://10.96.0.7:80", "udp://10.96.0.7:53")
    assert service_variables({"metadata": {"name": "x"}, "spec": {"clusterIP": "None", "ports": ports}}) == {}


def test_command_args_and_sub_path_are_expanded() -> None:
    spec = container(
        command=["serve", "--name=$(NAME)"], args=["$(HOSTNAME)", "$$(NAME)"], workingDir="/srv",
        env=[{"name": "NAME", "value": "pet"}],
        volumeMounts=[{"name": "data", "mountPath": "/data", "subPathExpr": "$(NAME)", "readOnly": True}],
    )  # fmt: skip
    made = container_spec(pod(), spec, attempt=2, sources={}, services=(), facts=FACTS)
    assert (made.command, made.args) == (("serve", "--name=pet"), ("web-0", "$(NAME)"))
    assert (made.attempt, made.working_dir) == (2, "/srv")
    mount = made.mounts[0]
    assert (mount.volume, mount.target, mount.sub_path, mount.read_only) == ("data", "/data", "pet", True)


def test_a_path_in_a_volume_needs_its_variables() -> None:
    spec = container(volumeMounts=[{"name": "data", "mountPath": "/data", "subPathExpr": "logs/$(NOBODY)"}])
    with pytest.raises(ConfigError, match='missing value for "NOBODY"'):
        container_spec(pod(), spec, attempt=0, sources={}, services=(), facts=FACTS)


@pytest.mark.parametrize(
    ("of_pod", "of_container", "user"),
    [
        pytest.param({}, {}, "", id="the image's own"),
        pytest.param({"runAsUser": 1000}, {}, "1000:0", id="runAsUser of the pod"),
        pytest.param({"runAsUser": 1000, "runAsGroup": 5}, {"runAsUser": 0}, "0:5", id="the container's is stronger"),
        pytest.param({"fsGroup": 7}, {"runAsUser": 1000}, "1000:7", id="the volumes' group without another"),
        pytest.param({"runAsGroup": 5}, {}, "", id="a group alone"),
    ],
)
def test_whom_a_container_takes_itself_for(of_pod: Object, of_container: Object, user: str) -> None:
    made = container_spec(
        pod(securityContext=of_pod), container(securityContext=of_container),
        attempt=0, sources={}, services=(), facts=FACTS,
    )  # fmt: skip
    assert made.user == user
