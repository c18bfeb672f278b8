"""Which fields a field selector may ask for, kind by kind; anything else is refused instead of matching nothing.

    ?fieldSelector=spec.nodeName=node-1 ──parse──▶ FieldMatcher ──known to the kind?──▶ list, watch, delete collection
                                                                 └ no: 400 "field label not supported: foo"

The lists are those of the conversions that Kubernetes registers with AddFieldLabelConversionFunc (pkg/apis/*/v1);
kinds without one have their name and namespace (runtime.DefaultMetaV1FieldSelectorConversion). Custom kinds are not
judged: the `selectableFields` of their definitions are not read.
"""

from __future__ import annotations

from dataclasses import replace

from petset.cluster.api.kinds import Kind
from petset.cluster.api.selectors import FieldMatcher, parse_field_selector
from petset.cluster.errors import BadRequest

_META = frozenset({"metadata.name", "metadata.namespace"})
_REFERENCE = ("kind", "namespace", "name", "uid", "apiVersion", "resourceVersion", "fieldPath")
_OF_KIND = {
    "Pod": {
        "spec.nodeName", "spec.restartPolicy", "spec.schedulerName", "spec.serviceAccountName", "spec.hostNetwork",
        "status.phase", "status.podIP", "status.podIPs", "status.nominatedNodeName",
    },
    "Node": {"spec.unschedulable"},
    "Namespace": {"status.phase"},
    "Secret": {"type"},
    "Service": {"spec.clusterIP", "spec.type"},
    "ReplicationController": {"status.replicas"},
    "ReplicaSet": {"status.replicas"},
    "Job": {"status.successful"},
    "CertificateSigningRequest": {"spec.signerName"},
    "ResourceSlice": {"spec.nodeName", "spec.driver"},
    "Event": {
        "reason", "type", "source", "reportingComponent", "reportingController",
        *(f"{reference}.{field}" for reference in ("involvedObject", "regarding") for field in _REFERENCE),
    },
}  # fmt: skip
_STANDS_FOR = {("Event", "source"): "source.component"}


def field_matcher(kind: Kind, text: str) -> FieldMatcher:
    """The matcher of a `fieldSelector`. Raises BadRequest for what does not parse and for fields of other kinds."""
    matcher = parse_field_selector(text)
    if kind.custom:
        return matcher
    own = _OF_KIND.get(kind.rules)
    for path in matcher.paths:
        if path in _META or path in (own or ()):
            continue
        if own is None:
            raise BadRequest(f'"{path}" is not a known field selector: only "metadata.name", "metadata.namespace"')
        raise BadRequest(f"field label not supported: {path}")
    return FieldMatcher(
        tuple(replace(each, path=_STANDS_FOR.get((kind.rules, each.path), each.path)) for each in matcher.requirements)
    )
