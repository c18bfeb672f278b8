"""What ends a command from outside ends it like Ctrl-C."""

from __future__ import annotations

import os
import signal

import pytest

from petset.cluster.cli.errors import sigterm_like_ctrl_c


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP], ids=lambda number: number.name)
def test_a_command_that_is_ended_may_take_back_what_it_began(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    with pytest.raises(KeyboardInterrupt), sigterm_like_ctrl_c():
        os.kill(os.getpid(), number)
    assert signal.getsignal(number) is before


def test_who_ignores_a_closed_terminal_goes_on() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with sigterm_like_ctrl_c():
            os.kill(os.getpid(), signal.SIGHUP)
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)
