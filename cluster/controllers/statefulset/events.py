"""The events that the controller records on a StatefulSet (recordPodEvent and recordClaimEvent upstream).

A write carries two of them: one for its success and one for its failure, in which `{error}` stands for the cause.
"""

from __future__ import annotations

from typing import Literal, TypedDict

from petset.cluster.api.objects import Object
from petset.cluster.control.writes import Record

Verb = Literal["create", "delete", "update"]


class Said(TypedDict):
    said: Record
    failed: Record


def about_pod(owner: Object, verb: Verb, pod: str) -> Said:
    """The records of a write to a pod."""
    text = f"{verb} Pod {pod} in StatefulSet {owner['metadata']['name']}"
    return {
        "said": Record(owner, "Normal", f"Successful{verb.title()}", f"{text} successful"),
        "failed": Record(owner, "Warning", f"Failed{verb.title()}", text + " failed error: {error}"),
    }


def pod_failed(owner: Object, verb: Verb, *, pod: str, error: str) -> Record:
    """What is recorded when a pod cannot even be tried, for an error that is known beforehand."""
    text = f"{verb} Pod {pod} in StatefulSet {owner['metadata']['name']} failed error: {error}"
    return Record(owner, "Warning", f"Failed{verb.title()}", text)


def about_claim(owner: Object, *, claim: str, pod: str) -> Said:
    """The records of a claim's creation; the two texts differ by a word, as they do upstream."""
    name = owner["metadata"]["name"]
    failed = f"create Claim {claim} for Pod {pod} in StatefulSet {name} failed error: " + "{error}"
    return {
        "said": Record(
            owner, "Normal", "SuccessfulCreate", f"create Claim {claim} Pod {pod} in StatefulSet {name} success"
        ),
        "failed": Record(owner, "Warning", "FailedCreate", failed),
    }


def conflicting_controller(owner: Object, claim: str) -> Record:
    return Record(
        owner,
        "Warning",
        "ConflictingController",
        f"PersistentVolumeClaim {claim} has a conflicting OwnerReference that acts as a managing controller, "
        "the retention policy is ignored for this claim",
    )
