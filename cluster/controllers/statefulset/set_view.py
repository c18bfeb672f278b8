"""A StatefulSet as its controller reads it: the fields that decide, with their defaults, and nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from petset.cluster.api.objects import Object, is_terminating, name_of, namespace_of, uid_of
from petset.cluster.api.selectors import LabelMatcher, selector_of


@dataclass(frozen=True)
class SetView:
    """`object` is the whole StatefulSet, shared with the cache.

    Ordinals run from `start` to `end` (excluded). `partition` is an index relative to `start`, and None where the
    update strategy has no `rollingUpdate` block; `max_unavailable` counts pods, and is None where the set does not
    ask for it. `matched_labels` are the selector's matchLabels, which claims carry.
    """

    object: Object
    name: str
    namespace: str
    uid: str
    terminating: bool
    replicas: int
    start: int
    monotonic: bool
    on_delete: bool
    partition: int | None
    max_unavailable: int | None
    min_ready_seconds: int
    history_limit: int
    selector: LabelMatcher
    matched_labels: Mapping[str, str]
    template: Object
    service_name: str
    claim_templates: tuple[Object, ...]
    delete_when_scaled: bool
    delete_when_deleted: bool

    @classmethod
    def of(cls, obj: Object) -> SetView:
        spec = obj["spec"]
        replicas = int(spec.get("replicas", 1))
        strategy = spec.get("updateStrategy") or {}
        rolling = strategy.get("rollingUpdate")
        retention = spec.get("persistentVolumeClaimRetentionPolicy") or {}
        return cls(
            object=obj,
            name=name_of(obj),
            namespace=namespace_of(obj),
            uid=uid_of(obj),
            terminating=is_terminating(obj),
            replicas=replicas,
            start=int((spec.get("ordinals") or {}).get("start", 0)),
            monotonic=spec.get("podManagementPolicy") != "Parallel",
            on_delete=strategy.get("type") == "OnDelete",
            partition=None if rolling is None else int(rolling.get("partition") or 0),
            max_unavailable=_max_unavailable(rolling or {}, replicas),
            min_ready_seconds=int(spec.get("minReadySeconds") or 0),
            history_limit=int(spec.get("revisionHistoryLimit", 10)),
            selector=selector_of(spec.get("selector")),
            matched_labels=(spec.get("selector") or {}).get("matchLabels") or {},
            template=spec["template"],
            service_name=spec.get("serviceName") or "",
            claim_templates=tuple(spec.get("volumeClaimTemplates") or ()),
            delete_when_scaled=retention.get("whenScaled") == "Delete",
            delete_when_deleted=retention.get("whenDeleted") == "Delete",
        )

    @property
    def end(self) -> int:
        return self.start + self.replicas

    @property
    def status(self) -> Object:
        return self.object.get("status") or {}

    def has_ordinal(self, ordinal: int) -> bool:
        """Whether a pod of this ordinal is to exist."""
        return self.start <= ordinal < self.end

    def pod_name(self, ordinal: int) -> str:
        return f"{self.name}-{ordinal}"


def _max_unavailable(rolling: Mapping[str, Any], replicas: int) -> int | None:
    """A percentage of the replicas is rounded down; less than one pod counts as one."""
    value = rolling.get("maxUnavailable")
    if value is None:
        return None
    if isinstance(value, str) and value.endswith("%"):
        return max(1, replicas * int(value[:-1]) // 100)
    return max(1, int(value))
