"""The files that volumes show: items, modes, optional sources, tokens, and which files follow their objects."""

from __future__ import annotations

import pytest

from petset.cluster.api.objects import Object
from petset.cluster.kubelet.downward import ConfigError, PodFacts
from petset.cluster.kubelet.volume_files import (
    Files,
    Needed,
    TokenWish,
    files_of,
    needed_by,
    shows_files,
    tokens_needed,
)
from tests.unit.kubelet.builders import container, pod

FACTS = PodFacts("web-0", "", "10.0.0.1", "node-1")
SOURCES: dict[tuple[str, str], Object] = {
    ("ConfigMap", "settings"): {
        "kind": "ConfigMap",
        "metadata": {"name": "settings"},
        "data": {"a": "1", "b": "2"},
        "binaryData": {"c": "/w=="},
    },
    ("Token", "/3607"): {"status": {"token": "jwt"}},
    ("Token", "vault/3600"): {"status": {"token": "for vault"}},
}


def projected(*sources: Object) -> Object:
    return {"name": "v", "projected": {"sources": list(sources)}}


@pytest.mark.parametrize(
    ("volume", "expected"),
    [
        pytest.param(
            {"configMap": {"name": "settings"}}, Files({"a": b"1", "b": b"2", "c": b"\xff"}), id="data and binaryData"
        ),
        pytest.param(
            {"configMap": {"name": "settings", "items": [{"key": "a", "path": "x/a", "mode": 0o400}]}},
            Files({"x/a": b"1"}, {"x/a": 0o400}),
            id="an item's own mode",
        ),
        pytest.param(
            {"configMap": {"name": "settings", "items": [{"key": "z", "path": "z"}], "optional": True}},
            Files(),
            id="an optional key that is missing",
        ),
        pytest.param(
            projected({"serviceAccountToken": {"path": "token", "expirationSeconds": 3607}}),
            Files({"token": b"jwt"}),
            id="token",
        ),
        pytest.param(
            projected({"serviceAccountToken": {"path": "t", "audience": "vault"}}),
            Files({"t": b"for vault"}),
            id="token for another audience, an hour by default",
        ),
        pytest.param(
            projected(
                {"configMap": {"name": "settings", "items": [{"key": "a", "path": "x"}]}},
                {"configMap": {"name": "settings", "items": [{"key": "b", "path": "x", "mode": 0o600}]}},
            ),
            Files({"x": b"2"}, {"x": 0o600}),
            id="the later source wins",
        ),
        pytest.param(
            projected({"secret": {"name": "absent", "optional": True}}), Files(), id="an optional source of several"
        ),
        pytest.param(
            {"downwardAPI": {"items": [{"path": "cpu", "mode": 0o400, "resourceFieldRef": {
                "containerName": "main", "resource": "limits.cpu", "divisor": "1m"}}]}},
            Files({"cpu": b"250"}, {"cpu": 0o400}),
            id="a resource of a container",
        ),
    ],
)  # fmt: skip
def test_files(volume: Object, expected: Files) -> None:
    main = container(resources={"limits": {"cpu": "250m"}})
    assert files_of(pod(main), volume, SOURCES, FACTS) == expected


@pytest.mark.parametrize(
    ("volume", "message"),
    [
        pytest.param({"secret": {"secretName": "absent"}}, 'secret "absent" not found', id="secret"),
        pytest.param(
            projected({"serviceAccountToken": {"path": "t", "expirationSeconds": 700}}),
            'failed to fetch token: serviceaccounts "robot" not found',
            id="account",
        ),
        pytest.param(
            projected({"clusterTrustBundle": {}}), "no volume plugin matched (clusterTrustBundle)", id="other"
        ),
    ],
)
def test_what_is_missing_is_named(volume: Object, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        files_of(pod(serviceAccountName="robot"), volume, SOURCES, FACTS)
    assert str(caught.value) == message


def test_what_volumes_need() -> None:
    both = projected(
        {"configMap": {"name": "settings"}}, {"secret": {"name": "login"}}, {"serviceAccountToken": {"path": "t"}}
    )
    assert needed_by(both) == [Needed("ConfigMap", "settings"), Needed("Secret", "login")]
    owner = pod(volumes=[both, {**both, "name": "w"}], serviceAccountName="robot")
    assert tokens_needed(owner) == [TokenWish("robot", "", 3600)]
    assert [shows_files(volume) for volume in (both, {"name": "e", "emptyDir": {}})] == [True, False]
