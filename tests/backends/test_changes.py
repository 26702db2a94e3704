"""Waiting for a change that somebody in this process makes."""

import signal

import pytest

from esbank.backends._changes import Changes


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="this system has no timers")
def test_whoever_waits_may_be_forked_by_a_signal_handler() -> None:
    changes = Changes()
    before = signal.signal(signal.SIGALRM, lambda *_: changes.renew())  # as a child does
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.02)
        changes.wait(0, 0.1)
    finally:
        signal.signal(signal.SIGALRM, before)
