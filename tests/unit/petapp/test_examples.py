"""The example manifests hold together: each says what it shows; the peers' set is the same pets with a new image."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml

import petset

EXAMPLES = Path(petset.__file__).parents[1] / "examples"
MANIFESTS = sorted(EXAMPLES.glob("*/*.yaml"))


def objects(file: str) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all((EXAMPLES / file).read_text()))


@pytest.mark.parametrize("path", MANIFESTS, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_a_manifest_opens_with_what_it_shows_and_is_in_the_table(path: Path) -> None:
    assert path.read_text().startswith("# ")
    assert f"`{path.parent.name}/{path.name}`" in (EXAMPLES / "README.md").read_text()
    for manifest in yaml.safe_load_all(path.read_text()):
        assert {"apiVersion", "kind"} <= manifest.keys()


@pytest.mark.parametrize("file", ["kubia/statefulset.yaml", "kubia/statefulset-peers.yaml"])
def test_the_kubia_set_is_governed_by_the_headless_service(file: str) -> None:
    (pets,), (service,) = objects(file), objects("kubia/service-headless.yaml")
    assert pets["spec"]["serviceName"] == service["metadata"]["name"]
    assert service["spec"]["clusterIP"] == "None"
    assert service["spec"]["selector"] == pets["spec"]["template"]["metadata"]["labels"]


def test_the_peers_set_differs_in_replicas_and_image_only() -> None:
    (pets,), (peers,) = objects("kubia/statefulset.yaml"), objects("kubia/statefulset-peers.yaml")
    expected = copy.deepcopy(pets)
    expected["spec"]["replicas"] = 3
    expected["spec"]["template"]["spec"]["containers"][0]["image"] = "luksa/kubia-pet-peers"
    assert peers == expected


def test_the_disks_lie_on_different_paths_and_no_class_claims_them() -> None:
    (disks,) = objects("kubia/persistent-volumes.yaml")
    assert [disk["metadata"]["name"] for disk in disks["items"]] == ["pv-a", "pv-b", "pv-c"]
    assert len({disk["spec"]["hostPath"]["path"] for disk in disks["items"]}) == 3
    assert all("storageClassName" not in disk["spec"] for disk in disks["items"])
