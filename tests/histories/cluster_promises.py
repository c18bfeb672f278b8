"""What a StatefulSet promises, checked against everything that happened in a whole cluster.

    watches (undelayed) ──▶ changes in the order of their revisions ──▶ states of the set and its pods
    writes of the controllers ────────────────────────────────────────▶ which of the changes are theirs

A controller decides on a cache that may be late. So an action of it must be right in *some* state, and under *some*
version of the set, that was true at most `window_seconds` before; but what the controller itself did before counts in
every one of these states: it never acts on a cache older than its own last write.

    create    ordered: every predecessor exists and is available; from the partition on, of the newest template
    delete    out of range: ordered sets only the highest, and only when all others are available
              in range: a finished pod; or an old one, by the update strategy, the partition and the budget
    always    claims follow their pods' names and keep their volumes; nothing is done twice
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from petset.cluster.api.objects import Object, condition, controller_of, is_terminating, labels_of, name_of, uid_of
from petset.cluster.api.times import parse_time
from tests.fakes.unruly import Written

SET = "web"
LABELS = {"app": SET}
FINAL_PHASES = ("Failed", "Succeeded")
Pods = Mapping[str, Object]


@dataclass(frozen=True)
class Change:
    """One event of a watch; `object` is None for a deletion, `at` is loop time."""

    revision: int
    at: float
    kind: str
    name: str
    object: Object | None


@dataclass(frozen=True)
class View:
    """One version of the set together with one state of the pods, at the controller's time `now` (epoch)."""

    owner: Object
    pods: Pods
    now: float

    @property
    def spec(self) -> Object:
        spec: Object = self.owner["spec"]
        return spec

    @property
    def ordered(self) -> bool:
        return bool(self.spec["podManagementPolicy"] == "OrderedReady")

    @property
    def start(self) -> int:
        return int((self.spec.get("ordinals") or {}).get("start", 0))

    @property
    def wanted(self) -> list[str]:
        return [f"{SET}-{self.start + index}" for index in range(self.spec["replicas"])]

    @property
    def block(self) -> Object:
        """The rollingUpdate block."""
        return self.spec["updateStrategy"].get("rollingUpdate") or {}

    @property
    def lowest(self) -> int:
        """The first ordinal that a roll may touch."""
        return self.start + int(self.block.get("partition") or 0)

    def is_member(self, pod: Object) -> bool:
        controller = controller_of(pod)
        selected = all(labels_of(pod).get(key) == value for key, value in LABELS.items())
        return selected and (controller is None or controller["uid"] == uid_of(self.owner))

    def is_new(self, pod: Object) -> bool:
        return image_of(pod["spec"]) == image_of(self.spec["template"]["spec"])

    def is_available(self, name: str) -> bool:
        pod = self.pods.get(name)
        if pod is None or not self.is_member(pod) or is_terminating(pod) or pod["status"].get("phase") != "Running":
            return False
        ready = condition(pod, "Ready")
        if ready is None or ready["status"] != "True":
            return False
        wait: int = self.spec.get("minReadySeconds", 0)
        return wait == 0 or parse_time(ready["lastTransitionTime"]) + wait < self.now

    @property
    def condemned(self) -> list[str]:
        """Members out of range, highest ordinal first."""
        names = [name for name, pod in self.pods.items() if self.is_member(pod) and name not in self.wanted]
        return sorted(names, key=ordinal, reverse=True)


def ordinal(name: str) -> int:
    return int(name.rpartition("-")[2])


def image_of(pod_spec: Object) -> str:
    return str(pod_spec["containers"][0]["image"])


def wrong_creation(view: View, pod: Object) -> str:
    """Why the pod may not be created now, or nothing."""
    name = name_of(pod)
    if name not in view.wanted:
        return f"{name} is out of range"
    if view.ordered:
        late = [each for each in view.wanted[: view.wanted.index(name)] if not view.is_available(each)]
        if late:
            return f"{name} is created before {late} are available"
    return _wrong_template(view, pod)


def _wrong_template(view: View, pod: Object) -> str:
    """The newest from the partition on; below it the current revision, once the status names one."""
    name, strategy = name_of(pod), view.spec["updateStrategy"]
    current = (view.owner.get("status") or {}).get("currentRevision")
    if "rollingUpdate" in strategy and ordinal(name) < view.lowest and current:
        made_of = labels_of(pod)["controller-revision-hash"]
        return "" if made_of == current else f"{name} is of {made_of}, although it is below the partition"
    always_new = strategy["type"] == "OnDelete" or ("rollingUpdate" in strategy and ordinal(name) >= view.lowest)
    if always_new and not view.is_new(pod):
        return f"{name} is not of the newest template, although it is not below the partition"
    return ""


def wrong_deletion(view: View, name: str) -> str:
    """Why the pod may not be deleted now, or nothing."""
    pod = view.pods.get(name)
    if pod is None or not view.is_member(pod):
        return f"{name} is no member"
    if is_terminating(pod):
        return f"{name} is deleted twice"
    if name not in view.wanted:
        return _wrong_scaling(view, name)
    if pod["status"].get("phase") in FINAL_PHASES:
        return ""
    return _wrong_roll(view, pod)


def _wrong_scaling(view: View, name: str) -> str:
    if not view.ordered:
        return ""
    if view.condemned[0] != name:
        return f"{name} is removed before {view.condemned[0]}"
    late = [each for each in view.wanted if not view.is_available(each)]
    return f"{name} is removed while {late} are not available" if late else ""


def _wrong_roll(view: View, pod: Object) -> str:
    name = name_of(pod)
    if view.spec["updateStrategy"]["type"] != "RollingUpdate":
        return f"{name} is rolled under OnDelete"
    if ordinal(name) < view.lowest:
        return f"{name} is rolled below the partition {view.lowest}"
    if view.is_new(pod):
        return f"{name} is rolled although it is new"
    return _over_budget(view, name)


def _over_budget(view: View, name: str) -> str:
    """One at a time, or maxUnavailable; an ordered set rolls nothing while a pod is down, a Parallel one may roll
    broken old pods outside the budget."""
    limit = view.block.get("maxUnavailable")
    down = [each for each in view.wanted if each != name and not view.is_available(each)]
    if view.ordered and not view.is_available(name):
        return f"{name} is down, and an ordered set waits for it"
    if limit is None:
        blocking = down if view.ordered else [each for each in down if ordinal(each) > ordinal(name)]
        return f"{name} is rolled while {blocking} are down" if blocking else ""
    if not view.is_available(name):
        return ""
    if isinstance(limit, str):
        limit = max(1, len(view.wanted) * int(limit[:-1]) // 100)
    return f"{name} is rolled while {down} are down: more than {limit}" if len(down) >= limit else ""


@dataclass
class Promises:
    """Feed it changes and writes; it raises AssertionError. `epoch` is what loop time 0 is to clocks."""

    window_seconds: float
    epoch: float
    answers_get_lost: bool = False
    log: list[str] = field(default_factory=list)
    _sets: list[tuple[float, Object | None]] = field(default_factory=lambda: [(0.0, None)])
    """(since when, version): the present one last."""
    _states: list[tuple[float, Pods]] = field(default_factory=lambda: [(0.0, {})])
    _claims: dict[str, Object] = field(default_factory=dict)
    _ended: set[str] = field(default_factory=set)
    """Uids of the pods that the controller deleted: terminating in each state, also in older ones."""
    _made: dict[str, Object] = field(default_factory=dict)
    """The pods that the controller created, by name, for states in which they are not there yet."""

    def take(self, changes: Iterable[Change], written: Iterable[Written]) -> None:
        """Check what happened since the last time."""
        own: dict[int, Written] = {}
        for write in written:
            self._check_refused(write)
            if write.kind == "Pod" and write.verb in ("create", "delete"):
                own[write.revision] = write
        for change in sorted(changes, key=lambda each: each.revision):
            if change.revision in own:
                self._check_action(own[change.revision], change)
            self._apply(change)

    @property
    def pods(self) -> Pods:
        return self._states[-1][1]

    @property
    def owner(self) -> Object | None:
        return self._sets[-1][1]

    def _apply(self, change: Change) -> None:
        self.log.append(f"{change.at:7.2f}s  #{change.revision} {_summary(change)}")
        if change.kind == "StatefulSet":
            self._sets.append((change.at, change.object))
        elif change.kind == "PersistentVolumeClaim":
            self._apply_claim(change)
        else:
            pods = {name: pod for name, pod in self.pods.items() if name != change.name}
            if change.object is not None:
                pods[change.name] = change.object
                check_claims_of(change.object)
            self._states.append((change.at, pods))
        horizon = change.at - self.window_seconds
        for history in (self._sets, self._states):
            while len(history) > 1 and history[1][0] < horizon:
                history.pop(0)

    def _apply_claim(self, change: Change) -> None:
        """A claim keeps its volume for life."""
        old, new = self._claims.get(change.name), change.object
        if new is None:
            self._claims.pop(change.name, None)
            return
        if old is not None and uid_of(old) == uid_of(new) and old["spec"].get("volumeName"):
            assert new["spec"].get("volumeName") == old["spec"]["volumeName"], f"{change.name} changed its volume"
        self._claims[change.name] = new

    def _check_action(self, written: Written, change: Change) -> None:
        now = self.epoch + change.at
        if written.verb == "create":
            created = change.object
            assert created is not None
            reasons = [wrong_creation(view, created) for view in self._views(now)]
            self._made[change.name] = created
        else:
            reasons = [wrong_deletion(view, change.name) for view in self._views(now)]
            self._ended.add(written.uid)
        assert "" in reasons, f"{written.verb} at #{change.revision} is right in no state: {sorted(set(reasons))}"

    def _check_refused(self, written: Written) -> None:
        """A name that is taken by the controller's own pod: it has not seen its own write. After a lost answer (which
        `answers_get_lost` allows) it cannot know."""
        if written.refused and written.kind == "Pod" and not self.answers_get_lost:
            made, present = self._made.get(written.name), self.pods.get(written.name)
            is_own = made is not None and present is not None and uid_of(made) == uid_of(present)
            assert not is_own, f"{written.name} is created twice"

    def _views(self, now: float) -> Iterator[View]:
        for _, owner in self._sets:
            if owner is None:
                continue
            for _, pods in self._states:
                yield View(owner, self._with_own_writes(pods), now)

    def _with_own_writes(self, pods: Pods) -> Pods:
        """What this state looks like to somebody who knows at least what they did themselves."""
        seen = dict(pods)
        for name, made in self._made.items():
            present = self.pods.get(name)
            if name not in seen and present is not None and uid_of(present) == uid_of(made):
                seen[name] = made
        for name, pod in seen.items():
            if uid_of(pod) in self._ended and not is_terminating(pod):
                seen[name] = pod | {"metadata": pod["metadata"] | {"deletionTimestamp": "2026-01-01T00:00:00Z"}}
        return seen


def check_claims_of(pod: Object) -> None:
    """A pod of a set mounts the claim of its own name."""
    if controller_of(pod) is None:
        return
    volumes = pod["spec"].get("volumes") or []
    claims = [each["persistentVolumeClaim"]["claimName"] for each in volumes if "persistentVolumeClaim" in each]
    assert claims == [f"data-{name_of(pod)}"], f"{name_of(pod)} mounts {claims}"


def _summary(change: Change) -> str:
    obj = change.object
    if obj is None:
        return f"{change.kind} {change.name} gone"
    if change.kind == "StatefulSet":
        spec = {key: value for key, value in obj["spec"].items() if key in ("replicas", "updateStrategy", "ordinals")}
        return f"{change.kind} {spec} {image_of(obj['spec']['template']['spec'])} {obj.get('status', {})}"
    if change.kind != "Pod":
        return f"{change.kind} {change.name}"
    ready = (condition(obj, "Ready") or {}).get("status")
    marks = " terminating" if is_terminating(obj) else ""
    owner = "" if controller_of(obj) else " orphan"
    return f"Pod {change.name} {image_of(obj['spec'])} {obj['status'].get('phase')} ready={ready}{marks}{owner}"
