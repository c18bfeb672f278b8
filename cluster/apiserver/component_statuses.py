"""`kubectl get componentstatuses`: the parts behind an API server, as healthy as /healthz says (health.py).

Made when somebody asks, stored nowhere, and deprecated in Kubernetes since 1.19, which every answer says.
"""

from __future__ import annotations

from petset.cluster.api.kinds import Kind
from petset.cluster.api.objects import Object, name_of
from petset.cluster.api.selectors import parse_field_selector, parse_label_selector
from petset.cluster.apiserver.options import ListOptions
from petset.cluster.apiserver.verbs import not_found

KIND = "ComponentStatus"
DEPRECATION = "v1 ComponentStatus is deprecated in v1.19+"

_COMPONENTS = ("controller-manager", "etcd-0", "scheduler")


def component_statuses(kind: Kind, options: ListOptions) -> Object:
    """The list of those that match. Raises BadRequest for a bad selector."""
    labels, fields = parse_label_selector(options.label_selector), parse_field_selector(options.field_selector)
    items = [obj for obj in map(_status, _COMPONENTS) if labels.selects(obj) and fields.matches(obj)]
    return {"kind": kind.list_kind, "apiVersion": kind.api_version, "metadata": {}, "items": items}


def component_status(kind: Kind, name: str) -> Object:
    """Raises NotFound."""
    for obj in map(_status, _COMPONENTS):
        if name_of(obj) == name:
            return obj
    raise not_found(kind, name)


def _status(name: str) -> Object:
    healthy = {"type": "Healthy", "status": "True", "message": "ok"}
    return {"kind": KIND, "apiVersion": "v1", "metadata": {"name": name}, "conditions": [healthy]}
