"""Why a fault cannot be: each error carries the HTTP status that the gate answers, and one line for the user."""

from __future__ import annotations


class FaultError(Exception):
    """A fault that cannot be injected or healed."""

    status = 400


class BadFault(FaultError):
    """The mapping is no fault."""


class NoSuchTarget(FaultError):
    """What the fault is to hit is not there."""

    status = 404


class CannotHere(FaultError):
    """This cluster, network or kernel cannot do it, or not now; the message says why."""

    status = 409


class HealFailed(FaultError):
    """The fault is still there; healing may be tried again."""

    status = 500
