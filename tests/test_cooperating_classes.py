"""An aggregate or a projector may have another base, which is told of its subclasses as well."""

from typing import ClassVar

from attrs import define

from esbank import Aggregate, Projector


class Listed:
    """Somebody else's base, which keeps a list of what derives from it."""

    names: ClassVar[list[str]] = []

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        Listed.names.append(cls.__name__)


def test_another_base_of_an_aggregate_is_told_of_it() -> None:
    @define(slots=False)
    class Bell(Aggregate[object, object], Listed):
        category: ClassVar[str] = "Bell"

    assert Listed.names.count("Bell") == 1


def test_another_base_of_a_projector_is_told_of_it() -> None:
    class Tally(Projector, Listed):
        pass

    assert Listed.names.count("Tally") == 1
