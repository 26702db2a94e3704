"""Views that follow the log: projectors, and the runner that keeps their place.

A view and its checkpoint change in one transaction of the view store, and the checkpoint is compared in that same
transaction before anything is changed. So each event takes effect exactly once, across crashes and restarts, and
however many runners there are.
"""

from esbank.projection._projector import Projector, Retry, projects, side_effects
from esbank.projection._runner import ProjectionRunner
from esbank.projection._status import ProjectorState, ProjectorStatus

__all__ = [
    "ProjectionRunner",
    "Projector",
    "ProjectorState",
    "ProjectorStatus",
    "Retry",
    "projects",
    "side_effects",
]
