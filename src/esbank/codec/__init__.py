"""Domain events to stored data and back, strictly.

`EventRegistry` knows which class stands behind which stored name, and by which upcasters old data reach it;
`EventCodec` writes and reads events by it. What they accept is decided per type in ``_forms``; snapshots and the
fingerprints of commands are made of the same forms.
"""

from esbank.codec._codec import EventCodec
from esbank.codec._forms import Misfit
from esbank.codec._registry import EventRegistry
from esbank.codec._schemas import Fields, Schema, check_schema, describe_schema, misfits
from esbank.codec._state import StateCodec
from esbank.codec._upcasters import Upcaster, upcaster

__all__ = [
    "EventCodec",
    "EventRegistry",
    "Fields",
    "Misfit",
    "Schema",
    "StateCodec",
    "Upcaster",
    "check_schema",
    "describe_schema",
    "misfits",
    "upcaster",
]
