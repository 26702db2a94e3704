"""An aggregate's state to a snapshot's text and back, by the same rules as events."""

from __future__ import annotations

import hashlib
from copy import deepcopy
from typing import Generic, TypeVar

from esbank.codec._forms import Form, Misfit, reader
from esbank.codec._types import Forms
from esbank.errors import DefinitionError

__all__ = ["StateCodec"]

S = TypeVar("S")


class StateCodec(Generic[S]):
    """Writes, reads and copies the states of one class.

    `schema` is a fingerprint of its fields and their types: it changes when the class or its `snapshot_version` does.
    `unstorable` says why states of the class cannot be written, None when they can; they can be copied all the same.
    """

    def __init__(self, cls: type[S], forms: Forms) -> None:
        self._cls = cls
        self.schema = ""
        self.unstorable: str | None = None
        self._form: Form | None = None
        try:
            self._form = forms.of(cls)
        except DefinitionError as error:
            self.unstorable = str(error)
        else:
            self.schema = hashlib.sha256(
                f"{getattr(cls, 'snapshot_version', 1)} {self._form.signature}".encode()
            ).hexdigest()
            self._read = reader(self._form)

    def encode(self, state: S) -> str:
        """Write a state as JSON text; raises ``ValueError`` when a value in it does not have its field's type."""
        return self._storable().to_json(state)

    def decode(self, text: str) -> S:
        """Read what `encode` wrote; raises ``ValueError`` for anything else."""
        form = self._storable()
        state: S = self._read(text)
        # A default in place of what is missing is right for an old event, and makes a state that never was.
        if form.to_json(state) != text:
            raise Misfit("it is not what was written")
        return state

    def copy(self, state: S) -> S:
        """Copy a state so that no change to one shows in the other."""
        if self._form is None:
            return deepcopy(state)
        copied: S = state if self._form.copy is None else self._form.copy(state)
        return copied

    def _storable(self) -> Form:
        if self._form is None:
            raise Misfit(self.unstorable or "")
        return self._form
