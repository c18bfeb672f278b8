"""An operator written with kopf, as its users write them: every Widget has a ConfigMap that says its size."""

from __future__ import annotations

from typing import Any

import kopf
from kubernetes import client, config


@kopf.on.startup()
def log_in(**_: Any) -> None:
    config.load_kube_config()


@kopf.on.create("example.com", "v1", "widgets")
def create(spec: kopf.Spec, body: kopf.Body, name: str, namespace: str, **_: Any) -> dict[str, int]:
    size_map = {"metadata": {"name": f"{name}-size"}, "data": {"size": str(spec["size"])}}
    kopf.adopt(size_map)
    client.CoreV1Api().create_namespaced_config_map(namespace, size_map)
    kopf.info(body, reason="Sized", message=f"the size is {spec['size']}")
    return {"size": spec["size"]}


@kopf.on.update("example.com", "v1", "widgets", field="spec.size")
def resize(new: int, name: str, namespace: str, patch: kopf.Patch, **_: Any) -> None:
    client.CoreV1Api().patch_namespaced_config_map(f"{name}-size", namespace, {"data": {"size": str(new)}})
    patch.status["size"] = new


@kopf.on.delete("example.com", "v1", "widgets")
def delete(name: str, namespace: str, **_: Any) -> None:
    client.CoreV1Api().delete_namespaced_config_map(f"{name}-size", namespace)
