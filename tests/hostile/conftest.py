"""A hang is a failure too: whatever is tried here is over in a moment, or is interrupted."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from types import FrameType

import pytest

_LONGEST = 100


@pytest.fixture(autouse=True)
def _no_hang(request: pytest.FixtureRequest) -> Iterator[None]:
    def interrupt(_number: int, _frame: FrameType | None) -> None:
        pytest.fail(f"nothing has come of it for {_LONGEST} seconds")

    before = signal.signal(signal.SIGALRM, interrupt)
    signal.alarm(0 if request.node.get_closest_marker("soak") else _LONGEST)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)
