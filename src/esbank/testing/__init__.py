"""Tools for testing what is built on esbank; nothing here is needed when a program runs.

`Scenario` tests an aggregate's rules as given, when, then. `check_snapshots` compares a replay with snapshots to one
without, and `check_schema_lock` the classes of events with what was stored so far. ``esbank.testing.conformance`` is
the suite that every store must pass; it needs pytest, and is imported by path.
"""

from esbank.testing.scenario import Raises, Scenario, raises
from esbank.testing.schema_lock import check_schema_lock
from esbank.testing.snapshots import check_snapshots

__all__ = ["Raises", "Scenario", "check_schema_lock", "check_snapshots", "raises"]
