"""The arithmetic of rollouts: one sync's sizes, given the Deployment and what its ReplicaSets have."""

from __future__ import annotations

from dataclasses import replace

import pytest

from petset.cluster.controllers.deployment.rolling import new_set_size, scaled, scaled_down, without_unhealthy
from petset.cluster.controllers.deployment.view import DeploymentView, ReplicaSetView
from tests.unit.controllers.replicas_kit import deployment, set_of

FENCE_POSTS: list[tuple[str, int, int | str, int | str, tuple[int, int]]] = [
    # replicas, maxSurge, maxUnavailable ─▶ as numbers of pods
    ("surge-up-unavailable-down", 10, "25%", "25%", (3, 2)),
    ("numbers", 10, 4, 3, (4, 3)),
    ("both-nothing-makes-one-unavailable", 3, "0%", "25%", (0, 1)),
    ("both-zero-percent", 3, "0%", "0%", (0, 1)),
    ("of-nothing", 0, "25%", "25%", (0, 0)),
    ("no-more-unavailable-than-replicas", 2, 0, 5, (0, 2)),
]


@pytest.mark.parametrize(
    ("replicas", "surge", "unavailable", "expected"), [pytest.param(*row[1:], id=row[0]) for row in FENCE_POSTS]
)
def test_fence_posts(replicas: int, surge: int | str, unavailable: int | str, expected: tuple[int, int]) -> None:
    view = DeploymentView.of(deployment(replicas=replicas, surge=surge, unavailable=unavailable))
    assert (view.max_surge, view.max_unavailable) == expected


def view_of(replicas: int, surge: int, unavailable: int, *, recreate: bool = False) -> DeploymentView:
    spec = {"strategy": {"type": "Recreate"}} if recreate else {}
    return DeploymentView.of(deployment(replicas=replicas, surge=surge, unavailable=unavailable, spec=spec))


def sets_of(text: str, *, sized: tuple[int, int] | None = (3, 4)) -> list[ReplicaSetView]:
    """`"10/8 5"`: a set told to have 10 with 8 available, one of 5 with all of them; oldest first."""
    found = []
    for number, token in enumerate(text.split(), start=1):
        size, _, available = token.partition("/")
        created = 1_767_225_600.0 + number
        there = int(available or size)
        found.append(
            set_of(deployment(), f"web:{number}", int(size), available=there, actual=max(int(size), there), sized=sized,
                   revision=number, created=created)
        )  # fmt: skip
    return [ReplicaSetView.of(each) for each in found]


UP: list[tuple[str, tuple[int, int, int], str, int]] = [
    # (replicas, surge, unavailable), all sets (the new one last) ─▶ the new one's next size
    ("as-many-as-the-surge-allows", (10, 3, 2), "10 0", 3),
    ("more-room-when-old-ones-went", (10, 3, 2), "8 3", 5),
    ("never-more-than-replicas", (10, 3, 2), "0 8", 10),
    ("no-room", (10, 0, 2), "10 0", 0),
    ("too-many-already", (10, 3, 2), "14 1", 1),
    ("full", (10, 3, 2), "2 10", 10),
    ("scaled-down-meanwhile", (4, 1, 1), "2 6", 4),
]


@pytest.mark.parametrize(("limits", "text", "expected"), [pytest.param(*row[1:], id=row[0]) for row in UP])
def test_new_set_size(limits: tuple[int, int, int], text: str, expected: int) -> None:
    sets = sets_of(text)
    assert new_set_size(view_of(*limits), sets, sets[-1].replicas) == expected


def test_recreate_makes_the_new_set_as_large_as_it_is_to_be() -> None:
    assert new_set_size(view_of(10, 0, 0, recreate=True), sets_of("0 0"), 0) == 10


DOWN: list[tuple[str, tuple[int, int, int], str, dict[str, int], dict[str, int]]] = [
    # limits, sets (the new one last) ─▶ sizes after the unhealthy are gone, and after sound ones went too
    ("unavailable-allows-two", (10, 3, 2), "10 3/0", {}, {"web-web-1": 8}),
    ("as-the-new-ones-come-up", (10, 3, 2), "8 5/3", {}, {"web-web-1": 5}),
    ("nothing-to-spare", (10, 3, 0), "10 3/0", {}, {}),
    ("the-oldest-first", (10, 3, 2), "5 5 3/0", {}, {"web-web-1": 3}),
    ("over-several-sets", (10, 0, 4), "2 8 0", {}, {"web-web-1": 0, "web-web-2": 6}),
    ("unhealthy-first", (10, 3, 2), "10/8 3/0", {"web-web-1": 8}, {}),
    (
        "unhealthy-of-every-set",
        (10, 5, 5),
        "5/3 5/4 5/5",
        {"web-web-1": 3, "web-web-2": 4},
        {"web-web-1": 0, "web-web-2": 0},
    ),
    ("unhealthy-only-as-far-as-allowed", (10, 3, 2), "10/5 3/0", {"web-web-1": 8}, {}),
    ("no-old-pods", (10, 3, 2), "0 10", {}, {}),
    ("a-status-that-lags-is-waited-for", (4, 2, 0), "3/4 3/2", {}, {}),
    ("of-the-new-one-too-after-a-rollback", (4, 0, 1), "2/2 2/3", {}, {}),
]


@pytest.mark.parametrize(("limits", "text", "unhealthy", "sound"), [pytest.param(*row[1:], id=row[0]) for row in DOWN])
def test_scaling_down(
    limits: tuple[int, int, int], text: str, unhealthy: dict[str, int], sound: dict[str, int]
) -> None:
    *old, new = sets_of(text)
    view = view_of(*limits)
    cleaned = {each.name: each for each in without_unhealthy(view, old, new)}
    assert {name: each.replicas for name, each in cleaned.items()} == unhealthy
    left = [cleaned.get(each.name, each) for each in old]
    assert {each.name: each.replicas for each in scaled_down(view, left, new)} == sound


def test_pods_of_a_set_whose_status_is_of_an_older_spec_are_not_counted_on() -> None:
    """Told to drop one and then to have two again: its status still counts both as available."""
    old, new = sets_of("4 2")
    view = view_of(4, 2, 0)
    assert [each.replicas for each in scaled_down(view, [old], new)] == [2]
    assert scaled_down(view, [old], replace(new, is_observed=False)) == []


SCALED: list[tuple[str, tuple[int, int, int], str, tuple[int, int], dict[str, int]]] = [
    # limits, sets (the new one last), (desired, maximum) before ─▶ sizes
    ("one-active-set-gets-all", (5, 1, 1), "3 0", (3, 4), {"web-web-1": 5}),
    ("none-active-the-new-one", (5, 1, 1), "0 0", (3, 4), {"web-web-2": 5}),
    ("saturated-new-set-ends-the-old", (5, 1, 1), "1 5", (5, 6), {"web-web-1": 0}),
    ("up-in-proportion", (15, 3, 2), "8 5", (10, 13), {"web-web-1": 11, "web-web-2": 7}),
    ("down-in-proportion", (5, 2, 2), "8 5", (10, 13), {"web-web-1": 4, "web-web-2": 3}),
    ("the-rest-goes-to-the-largest", (14, 1, 1), "4 4 3", (10, 11), {"web-web-2": 6, "web-web-1": 5, "web-web-3": 4}),
    ("among-equals-the-newer-grows", (6, 0, 1), "2 2", (4, 4), {"web-web-2": 3, "web-web-1": 3}),
    ("to-nothing", (0, 0, 1), "8 5", (10, 13), {"web-web-1": 0, "web-web-2": 0}),
    ("no-difference-only-notes", (10, 3, 2), "8 5", (9, 13), {"web-web-1": 8, "web-web-2": 5}),
]


@pytest.mark.parametrize(("limits", "text", "sized", "expected"), [pytest.param(*row[1:], id=row[0]) for row in SCALED])
def test_scaling_the_deployment(
    limits: tuple[int, int, int], text: str, sized: tuple[int, int], expected: dict[str, int]
) -> None:
    *old, new = sets_of(text, sized=sized)
    assert {each.name: each.replicas for each in scaled(view_of(*limits), old, new)} == expected


def test_without_a_new_set_the_youngest_old_one_is_scaled() -> None:
    assert [(each.name, each.replicas) for each in scaled(view_of(3, 1, 1), sets_of("0 0"), None)] == [("web-web-2", 3)]
    assert scaled(view_of(3, 1, 1), [], None) == []


def test_recreate_does_not_share() -> None:
    *old, new = sets_of("2 2")
    assert scaled(view_of(6, 0, 0, recreate=True), old, new) == []
