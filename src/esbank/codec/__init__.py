"""Domain events to stored data and back, strictly.

`EventRegistry` knows which class stands behind which stored name; `EventCodec` writes and reads events by it. What they
accept is decided per type in ``_forms``; snapshots and the fingerprints of commands are made of the same forms.
"""

from esbank.codec._codec import EventCodec
from esbank.codec._registry import EventRegistry
from esbank.codec._state import StateCodec

__all__ = ["EventCodec", "EventRegistry", "StateCodec"]
