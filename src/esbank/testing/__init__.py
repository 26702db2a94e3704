"""Tools for testing what is built on esbank; nothing here is needed when a program runs.

`Scenario` tests an aggregate's rules as given, when, then, and `ViewScenario` a projector's rows as given, then.
`check_snapshots` compares a replay with snapshots to one without, and `check_schema_lock` the classes of events with
what was stored so far.

Stores are tested by two modules that are imported by path: ``esbank.testing.conformance``, the suite that every store
must pass, needs pytest; ``esbank.testing.state_machine``, which looks for a program that breaks one, needs Hypothesis.
"""

from esbank.testing.scenario import Raises, Scenario, raises
from esbank.testing.schema_lock import check_schema_lock
from esbank.testing.snapshots import check_snapshots
from esbank.testing.view_scenario import Row, ViewScenario

__all__ = ["Raises", "Row", "Scenario", "ViewScenario", "check_schema_lock", "check_snapshots", "raises"]
