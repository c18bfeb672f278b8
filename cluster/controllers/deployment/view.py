"""A Deployment and its ReplicaSets as their controller reads them: the fields that decide, with their defaults.

maxSurge is rounded up, maxUnavailable down; where both come out as nothing, one pod may be missing, or no roll would
ever move (ResolveFenceposts in deployment_util.go).
"""

from __future__ import annotations

from dataclasses import dataclass

from petset.cluster.api.objects import Object, annotations_of, is_terminating, name_of, namespace_of, uid_of
from petset.cluster.api.portions import portion
from petset.cluster.api.selectors import LabelMatcher, selector_of

REVISION = "deployment.kubernetes.io/revision"
REVISION_HISTORY = "deployment.kubernetes.io/revision-history"
DESIRED_REPLICAS = "deployment.kubernetes.io/desired-replicas"
MAX_REPLICAS = "deployment.kubernetes.io/max-replicas"

NO_DEADLINE = NO_LIMIT = 2**31 - 1
"""The values of progressDeadlineSeconds and revisionHistoryLimit that mean "never"."""


@dataclass(frozen=True)
class DeploymentView:
    """`object` is the whole Deployment, shared with the cache. `deadline_seconds` and `history_limit` are None where
    there is none; `max_unavailable` is at most `replicas`."""

    object: Object
    name: str
    namespace: str
    uid: str
    generation: int
    terminating: bool
    paused: bool
    recreate: bool
    replicas: int
    max_surge: int
    max_unavailable: int
    min_ready_seconds: int
    deadline_seconds: int | None
    history_limit: int | None
    selector: LabelMatcher
    template: Object
    collision_count: int

    @classmethod
    def of(cls, obj: Object) -> DeploymentView:
        spec = obj["spec"]
        replicas = int(spec.get("replicas", 1))
        max_surge, max_unavailable = _fence_posts(spec.get("strategy") or {}, replicas)
        return cls(
            object=obj,
            name=name_of(obj),
            namespace=namespace_of(obj),
            uid=uid_of(obj),
            generation=int(obj["metadata"].get("generation") or 0),
            terminating=is_terminating(obj),
            paused=bool(spec.get("paused")),
            recreate=(spec.get("strategy") or {}).get("type") == "Recreate",
            replicas=replicas,
            max_surge=max_surge,
            max_unavailable=max_unavailable,
            min_ready_seconds=int(spec.get("minReadySeconds") or 0),
            deadline_seconds=_limit(spec.get("progressDeadlineSeconds"), NO_DEADLINE),
            history_limit=_limit(spec.get("revisionHistoryLimit"), NO_LIMIT),
            selector=selector_of(spec.get("selector")),
            template=spec["template"],
            collision_count=int((obj.get("status") or {}).get("collisionCount") or 0),
        )

    @property
    def status(self) -> Object:
        return self.object.get("status") or {}

    @property
    def max_replicas(self) -> int:
        """The most pods at any time of a roll."""
        return self.replicas + self.max_surge

    @property
    def min_available(self) -> int:
        """The fewest available pods at any time of a roll."""
        return self.replicas - self.max_unavailable


def _limit(value: int | None, none: int) -> int | None:
    return None if value is None or value == none else int(value)


def _fence_posts(strategy: Object, replicas: int) -> tuple[int, int]:
    """(maxSurge, maxUnavailable) as numbers of pods."""
    if strategy.get("type") == "Recreate":
        return 0, 0
    rolling = strategy.get("rollingUpdate") or {}
    surge = portion(rolling.get("maxSurge", "25%"), replicas, round_up=True)
    unavailable = portion(rolling.get("maxUnavailable", "25%"), replicas, round_up=False)
    return surge, min(replicas, 1 if surge == 0 and unavailable == 0 else unavailable)


@dataclass(frozen=True)
class ReplicaSetView:
    """A ReplicaSet of a Deployment. `replicas` is what it is told (or planned) to have; `actual`, `ready` and
    `available` what its status counts, `is_observed` whether that status knows of the present spec. `desired` and
    `max_replicas` are the Deployment's figures when it was last scaled, None where the annotation is missing."""

    object: Object
    name: str
    uid: str
    created: str
    replicas: int
    actual: int
    ready: int
    available: int
    is_observed: bool
    revision: int
    desired: int | None
    max_replicas: int | None

    @classmethod
    def of(cls, obj: Object) -> ReplicaSetView:
        status, annotations = obj.get("status") or {}, annotations_of(obj)
        return cls(
            object=obj,
            name=name_of(obj),
            uid=uid_of(obj),
            created=obj["metadata"].get("creationTimestamp") or "",
            replicas=int(obj["spec"].get("replicas", 1)),
            actual=int(status.get("replicas") or 0),
            ready=int(status.get("readyReplicas") or 0),
            available=int(status.get("availableReplicas") or 0),
            is_observed=int(status.get("observedGeneration") or 0) >= int(obj["metadata"].get("generation") or 0),
            revision=_number(annotations.get(REVISION)) or 0,
            desired=_number(annotations.get(DESIRED_REPLICAS)),
            max_replicas=_number(annotations.get(MAX_REPLICAS)),
        )

    @property
    def lags(self) -> bool:
        """Whether its status may count pods that it has been told to drop."""
        return not self.is_observed or self.available > self.replicas

    @property
    def age_order(self) -> tuple[str, str]:
        """Oldest first; the name decides among those of one second."""
        return self.created, self.name


def _number(text: str | None) -> int | None:
    try:
        return None if text is None else int(text)
    except ValueError:
        return None
