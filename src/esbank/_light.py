"""Light attrs classes, for the two of which one is made for every event that is read.

To whoever type-checks they are frozen; when running they are plain classes with slots, because one that attrs freezes
costs about four times as much to make. The idea is Tin Tvrtković's: "Zero-overhead frozen attrs classes".
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from attrs import frozen as light
else:
    from attrs import define

    light = define(unsafe_hash=True)

__all__ = ["light"]
