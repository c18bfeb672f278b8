"""Tokens of ServiceAccounts: whose they are, and when they are good no more."""

from __future__ import annotations

from typing import Any

import pytest

from petset.cluster.api.objects import Object
from petset.cluster.apiserver.service_account_tokens import ISSUER, TokenIssuer
from petset.cluster.errors import BadRequest

ACCOUNT: Object = {"metadata": {"name": "robot", "namespace": "default", "uid": "uid-robot"}}


class HandClock:
    def __init__(self) -> None:
        self.seconds = 1_767_225_600.0

    def now(self) -> float:
        return self.seconds


def token_of(issuer: TokenIssuer, **spec: Any) -> str:
    return str(issuer.issue(ACCOUNT, {"spec": spec})["status"]["token"])


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
def issuer(clock: HandClock) -> TokenIssuer:
    return TokenIssuer(b"key", clock)


def test_a_token_says_whose_it_is_until_it_ends(issuer: TokenIssuer, clock: HandClock) -> None:
    token = token_of(issuer, expirationSeconds=600)
    clock.seconds += 600
    assert issuer.namespace_and_name(token) == ("default", "robot")
    clock.seconds += 1
    assert issuer.namespace_and_name(token) is None


def test_a_token_outlives_the_process_that_signed_it(issuer: TokenIssuer, clock: HandClock) -> None:
    token = token_of(issuer)
    assert TokenIssuer(b"key", clock).namespace_and_name(token) == ("default", "robot")
    assert TokenIssuer(b"other", clock).namespace_and_name(token) is None


@pytest.mark.parametrize(
    ("audiences", "good"),
    [([], True), ([ISSUER], True), (["vault"], False), (["vault", ISSUER], True)],
    ids=["no audience is ours", "ours", "another's", "both"],
)
def test_a_token_for_others_is_none_for_us(issuer: TokenIssuer, audiences: list[str], good: bool) -> None:
    assert (issuer.namespace_and_name(token_of(issuer, audiences=audiences)) is not None) == good


@pytest.mark.parametrize("token", ["", "x", "a.b", "a.b.c", "é.b.c"])
def test_garbage_is_nobodys(issuer: TokenIssuer, token: str) -> None:
    assert issuer.namespace_and_name(token) is None


@pytest.mark.parametrize("seconds", [599, -1, (1 << 32) + 1])
def test_a_life_that_cannot_be_is_refused(issuer: TokenIssuer, seconds: int) -> None:
    with pytest.raises(BadRequest, match="may not specify a duration less than 10 minutes"):
        token_of(issuer, expirationSeconds=seconds)
