"""runAsNonRoot against what a container would run as."""

from __future__ import annotations

from typing import Any

import pytest

from petset.cluster.api.objects import uid_of
from petset.cluster.kubelet.downward import ConfigError
from petset.cluster.kubelet.non_root import refuse_root
from tests.unit.kubelet.builders import container, pod

NON_ROOT: dict[str, Any] = {"runAsNonRoot": True}
WILL = "container has runAsNonRoot and image will run as root"
NAMED = "container has runAsNonRoot and image has non-numeric user (app), cannot verify user is non-root"
BREAKS = "container's runAsUser breaks non-root policy"

ROWS: list[tuple[str, dict[str, Any], dict[str, Any], str, str]] = [
    # the pod's context, the container's, the image's user ─▶ why not
    ("nobody-asks", {}, {}, "", ""),
    ("an-image-without-a-user", {}, NON_ROOT, "", WILL),
    ("the-pod-asks", NON_ROOT, {}, "", WILL),
    ("the-container-allows-what-the-pod-does-not", NON_ROOT, {"runAsNonRoot": False}, "", ""),
    ("the-container-leaves-it-to-the-pod", NON_ROOT, {"runAsNonRoot": None}, "", WILL),
    ("an-image-of-user-0", {}, NON_ROOT, "0:0", WILL),
    ("an-image-of-another-number", {}, NON_ROOT, "1001:0", ""),
    ("an-image-of-a-name", {}, NON_ROOT, "app", NAMED),
    ("the-manifest-names-a-user", {}, {**NON_ROOT, "runAsUser": 1000}, "", ""),
    ("the-pod-names-a-user", {"runAsUser": 1000}, NON_ROOT, "app", ""),
    ("the-manifest-names-root", {}, {**NON_ROOT, "runAsUser": 0}, "1001", BREAKS),
]


@pytest.mark.parametrize(
    ("of_pod", "of_container", "image_user", "reason"), [pytest.param(*row[1:], id=row[0]) for row in ROWS]
)
def test_who_may_start(of_pod: dict[str, Any], of_container: dict[str, Any], image_user: str, reason: str) -> None:
    main = container(securityContext=of_container)
    whole = pod(securityContext=of_pod, containers=[main])
    if not reason:
        refuse_root(whole, main, image_user)
        return
    with pytest.raises(ConfigError) as caught:
        refuse_root(whole, main, image_user)
    assert str(caught.value) == f'{reason} (pod: "web-0_default({uid_of(whole)})", container: main)'
