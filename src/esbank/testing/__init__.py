"""Tools for testing what is built on esbank; nothing here is needed when a program runs.

`Scenario` tests an aggregate's rules as given, when, then. ``esbank.testing.conformance`` is the suite that every store
must pass; it needs pytest, and is imported by path.
"""

from esbank.testing.scenario import Raises, Scenario, raises

__all__ = ["Raises", "Scenario", "raises"]
