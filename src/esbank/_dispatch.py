"""Methods marked with the class that they take, found by type in one look-up.

Aggregates and projectors share this idiom. A mark is kept on the function; the table of a class is made from the marks
of its methods and of its parents', so a subclass adds and overrides methods as it would any others.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, final

from attrs import frozen

from esbank.errors import DefinitionError

F = TypeVar("F", bound=Callable[..., Any])


@final
@frozen
class Marker:
    """A decorator that marks methods with classes, under its own name."""

    name: str

    @property
    def attribute(self) -> str:
        """Where the mark is kept on a function."""
        return f"__esbank_{self.name}__"

    def __call__(self, *classes: type) -> Callable[[F], F]:
        """Make the decorator; raises ``DefinitionError`` unless it is given classes."""
        if not classes:
            raise DefinitionError(f"@{self.name} needs the class that the method takes, as in @{self.name}(SomeClass)")
        for cls in classes:
            if not isinstance(cls, type):
                raise DefinitionError(f"@{self.name} takes classes, not {cls!r}")

        def mark(function: F) -> F:
            setattr(function, self.attribute, (*getattr(function, self.attribute, ()), *classes))
            return function

        return mark


def methods_by_class(owner: type, marker: Marker) -> dict[type, Callable[..., Any]]:
    """Map each class to the method of `owner` that is marked with it, the most derived one where there are several.

    Raises ``DefinitionError`` when one class of `owner`'s line marks two methods with the same class.
    """
    names: dict[type, str] = {}
    for base in reversed(owner.__mro__):
        marked_here: dict[type, str] = {}
        for name, member in vars(base).items():
            classes: tuple[type, ...] = getattr(member, marker.attribute, ())
            if classes or member is None:
                # A method that is marked anew, or set to None, no longer takes what its namesake took.
                names = {cls: taken for cls, taken in names.items() if taken != name}
            for cls in classes:
                if cls in marked_here:
                    raise DefinitionError(
                        f"{owner.__name__}: both {marked_here[cls]} and {name} are marked "
                        f"@{marker.name}({cls.__name__}); one must go"
                    )
                marked_here[cls] = name
        names |= marked_here
    return {cls: getattr(owner, name) for cls, name in names.items()}
