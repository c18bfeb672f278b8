"""What the ServiceAccount plugin adds to a pod, and when it does not."""

from __future__ import annotations

import pytest

from petset.cluster.api.objects import Object
from petset.cluster.apiserver.token_mounts import MOUNT_PATH, mount_token
from petset.cluster.names import seeded_names

OWN = {"name": "own", "mountPath": MOUNT_PATH}


def mounts(spec: Object) -> dict[str, list[str]]:
    everyone = [*spec.get("initContainers", []), *spec["containers"]]
    return {each["name"]: [mount["mountPath"] for mount in each.get("volumeMounts", [])] for each in everyone}


def test_every_container_finds_token_authority_and_namespace() -> None:
    spec: Object = {"initContainers": [{"name": "first"}], "containers": [{"name": "main", "volumeMounts": []}]}
    mount_token(spec, {}, seeded_names(1))
    assert mounts(spec) == {"first": [MOUNT_PATH], "main": [MOUNT_PATH]}
    [volume] = spec["volumes"]
    assert volume["name"].startswith("kube-api-access-")
    assert spec["containers"][0]["volumeMounts"][0] == {
        "name": volume["name"], "readOnly": True, "mountPath": MOUNT_PATH,
    }  # fmt: skip
    token, authority, namespace = volume["projected"]["sources"]
    assert token == {"serviceAccountToken": {"expirationSeconds": 3607, "path": "token"}}
    assert authority["configMap"]["name"] == "kube-root-ca.crt"
    assert namespace["downwardAPI"]["items"][0]["path"] == "namespace"


@pytest.mark.parametrize(
    ("pod", "account", "mounted"),
    [
        pytest.param(None, None, True, id="nobody says anything"),
        pytest.param(False, None, False, id="the pod says no"),
        pytest.param(None, False, False, id="the account says no"),
        pytest.param(True, False, True, id="the pod has the last word"),
    ],
)
def test_pod_or_account_may_say_no(pod: bool | None, account: bool | None, mounted: bool) -> None:
    spec: Object = {"containers": [{"name": "main"}]}
    if pod is not None:
        spec["automountServiceAccountToken"] = pod
    mount_token(spec, {"automountServiceAccountToken": account} if account is not None else {}, seeded_names(1))
    assert bool(spec.get("volumes")) == mounted
    assert mounts(spec) == {"main": [MOUNT_PATH] if mounted else []}


def test_a_container_that_mounts_something_there_keeps_it() -> None:
    spec: Object = {"containers": [{"name": "own", "volumeMounts": [OWN]}, {"name": "main"}]}
    mount_token(spec, None, seeded_names(1))
    assert mounts(spec) == {"own": [MOUNT_PATH], "main": [MOUNT_PATH]}
    assert spec["containers"][0]["volumeMounts"] == [OWN]
    spec = {"containers": [{"name": "own", "volumeMounts": [OWN]}]}
    mount_token(spec, None, seeded_names(1))
    assert "volumes" not in spec
