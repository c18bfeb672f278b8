"""How a command ends when it cannot go on: one line that says what to do, never a traceback for a user's mistake."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

import click

from petset.cluster.cli.clusters import ClusterError
from petset.cluster.cli.launch import LaunchFailed
from petset.cluster.settings import SettingsError


@contextmanager
def one_line_errors() -> Iterator[None]:
    """Turn every failure that is not a bug into `Error: …` and exit status 1."""
    try:
        yield
    except (ClusterError, LaunchFailed, SettingsError) as error:
        raise click.ClickException(str(error)) from error
    except KeyboardInterrupt:
        click.echo("interrupted; nothing was left running", err=True)
        sys.exit(128 + signal.SIGINT)


@contextmanager
def sigterm_like_ctrl_c() -> Iterator[None]:
    """SIGTERM, and SIGHUP unless it is ignored (`nohup`): with a closed terminal, too, what was begun is taken back."""
    numbers = [each for each in (signal.SIGTERM, signal.SIGHUP) if signal.getsignal(each) is not signal.SIG_IGN]
    before = {number: signal.signal(number, _interrupt) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _interrupt(_number: int, _frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt
