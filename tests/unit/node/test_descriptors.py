"""The streams of a program when there are no descriptors left: none of them is kept."""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice

import pytest

from petset.cluster.node.descriptors import open_stdio

MANY = 1024


def open_descriptors() -> set[int]:
    """Those below MANY; a listing of /proc would hold its own."""
    return {number for number in range(MANY) if is_open(number)}


def is_open(number: int) -> bool:
    try:
        os.fstat(number)
    except OSError:
        return False
    return True


@contextmanager
def few_descriptors(free: int) -> Iterator[None]:
    """This process may open so many further ones."""
    taken = open_descriptors()
    first_beyond = next(islice((number for number in range(MANY) if number not in taken), free, None))
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (first_beyond, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.parametrize(
    ("free", "stdin", "tty"),
    [
        pytest.param(3, False, False, id="the second pipe"),
        pytest.param(5, True, False, id="the input's"),
        pytest.param(2, True, True, id="the terminal's input"),
    ],
)
def test_streams_that_cannot_be_had_leave_nothing(free: int, stdin: bool, tty: bool) -> None:
    before = open_descriptors()
    with few_descriptors(free), pytest.raises(OSError, match="Too many open files"):
        open_stdio(stdin=stdin, tty=tty)
    assert open_descriptors() == before
