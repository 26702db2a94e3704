"""Changes that cosmic-ray does not make, or not to all code.

Its operators turn one thing into another. What is easily forgotten is a call for its effect, a refusal, or an option
that is handed on: here they are left out. Its operator for exceptions knows no dotted names.
"""

from collections.abc import Iterator
from typing import Any, TypeAlias

import parso
from cosmic_ray.operators.operator import Example, Operator
from parso.tree import BaseNode, NodeOrLeaf
from typing_extensions import override

Span: TypeAlias = tuple[tuple[int, int], tuple[int, int]]


class LeaveOutStatement(Operator):
    """Leave out a call, a ``raise``, a ``yield``, or what sets an attribute or an item."""

    @override
    def mutation_positions(self, node: NodeOrLeaf) -> Iterator[Span]:
        if node.type == "simple_stmt" and _has_effect(node.children[0]):
            yield node.children[0].start_pos, node.children[0].end_pos

    @override
    def mutate(self, node: Any, index: int) -> Any:
        node.children[0] = parso.parse(f"{node.children[0].get_first_leaf().prefix}pass")
        return node

    @classmethod
    @override
    def examples(cls) -> tuple[Example, ...]:
        return (Example("check(it)\n", "pass\n"), Example("self.it = 1\n", "pass\n"))


class LeaveOutArgument(Operator):
    """Leave out an argument that is given by its name."""

    @override
    def mutation_positions(self, node: NodeOrLeaf) -> Iterator[Span]:
        if node.type == "argument" and node.children[1] == "=" and node.search_ancestor("decorator") is None:
            yield node.start_pos, node.end_pos

    @override
    def mutate(self, node: Any, index: int) -> Any:
        # An empty `**` takes its place: the commas around it stay right.
        return parso.parse(f"{node.get_first_leaf().prefix}**{{}}")

    @classmethod
    @override
    def examples(cls) -> tuple[Example, ...]:
        return (Example("read(it, limit=1)", "read(it, **{})"),)


class CatchAnother(Operator):
    """Catch an exception that is never raised instead of one that is."""

    @override
    def mutation_positions(self, node: NodeOrLeaf) -> Iterator[Span]:
        if node.parent is not None and node in _caught(node.parent):
            yield node.start_pos, node.end_pos

    @override
    def mutate(self, node: Any, index: int) -> Any:
        return parso.parse(f"{node.get_first_leaf().prefix}SystemError")

    @classmethod
    @override
    def examples(cls) -> tuple[Example, ...]:
        before = "try: it()\nexcept (OSError, sqlite3.Error): pass"
        return (Example(before, "try: it()\nexcept (OSError, SystemError): pass", occurrence=1),)


def _caught(parent: BaseNode) -> list[NodeOrLeaf]:
    """List the children that name an exception, in an ``except`` or in the tuple after it."""
    if parent.type == "except_clause":
        return [] if parent.children[1].type == "atom" else [parent.children[1]]
    in_tuple = parent.type == "testlist_comp" and parent.parent.parent.type == "except_clause"
    return parent.children[::2] if in_tuple else []


def _has_effect(statement: NodeOrLeaf) -> bool:
    if statement.type in {"raise_stmt", "yield_expr", "del_stmt"}:
        return True
    if not isinstance(statement, BaseNode):
        return False
    if statement.type == "expr_stmt":
        return statement.children[0].type == "atom_expr"
    return statement.type == "atom_expr" and statement.children[-1].get_first_leaf() == "("
