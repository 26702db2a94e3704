"""What can be changed in a module, and which of it matters."""

import random
from collections import defaultdict
from collections.abc import Iterator
from difflib import unified_diff
from typing import Final

import cosmic_ray.plugins
from attrs import frozen
from cosmic_ray.ast import ast_nodes, get_ast
from cosmic_ray.mutating import mutate_code
from cosmic_ray.operators.operator import Operator
from parso.tree import BaseNode, NodeOrLeaf

from scripts.mutants.operators import CatchAnother, LeaveOutArgument, LeaveOutStatement, Span

TYPING_ONLY: Final = {"@final", "@overload", "@override"}
"""Decorators that change nothing at run time."""


@frozen
class Mutant:
    """One change to one module: `before` and `after` are the lines that it is about, without their indentation."""

    module: str
    function: str
    line: int
    before: tuple[str, ...]
    after: tuple[str, ...]
    source: str

    @property
    def change(self) -> str:
        """Write the change as a diff without line numbers, which is how it is recognised in another version."""
        return "\n".join([*(f"- {line}" for line in self.before), *(f"+ {line}" for line in self.after)])

    def __str__(self) -> str:
        return f"{self.module} {self.function}\n{self.change}"


def find_mutants(module: str, source: str, *, seed: int) -> Iterator[Mutant]:
    """Make the mutants of a module: at each place one of each kind, such as one other comparison, drawn by the seed.

    What is drawn at a place does not change with what changes elsewhere.
    """
    tree, lines = get_ast(source), source.splitlines()
    places: dict[tuple[Span, str], list[tuple[Operator, int, NodeOrLeaf]]] = defaultdict(list)
    for name, operator in _operators().items():
        occurrence = 0
        for node in ast_nodes(tree):
            for start, end in operator.mutation_positions(node):
                if _matters(tree.get_leaf_for_position(start)):
                    places[(start, end), name.split("_")[0]].append((operator, occurrence, node))
                occurrence += 1
    seen = set()
    for (((line, column), _), kind), choices in places.items():
        function = _name(choices[0][-1])
        draw = random.Random(f"{seed} {module} {function} {lines[line - 1]} {column} {kind}")  # noqa: S311 - no secret
        operator, occurrence, _ = draw.choice(choices)
        mutated = mutate_code(source, operator, occurrence)
        mutant = Mutant(module, function, line, *_difference(source, mutated), mutated)
        if str(mutant) not in seen and _compiles(mutated):
            seen.add(str(mutant))
            yield mutant


def show(mutant: Mutant, source: str) -> str:
    """Write a mutant as a diff for people."""
    diff = unified_diff(source.splitlines(), mutant.source.splitlines(), mutant.module, mutant.function, lineterm="")
    return "\n".join(diff)


def _operators() -> dict[str, Operator]:
    """List the operators by name: cosmic-ray's that are of use here, and ours."""
    classes = {name: cosmic_ray.plugins.get_operator(name) for name in cosmic_ray.plugins.operator_names()}
    ours = (CatchAnother, LeaveOutArgument, LeaveOutStatement)
    return {
        **{name: operator() for name, operator in classes.items() if _is_of_use(name) and not operator.arguments()},
        **{operator.__name__: operator() for operator in ours},
    }


def _is_of_use(name: str) -> bool:
    """Pass over those that turn an ``is`` into an ``==`` or back, the same for types, and what `CatchAnother` does."""
    kind, *operators = name.split("_")
    if kind.endswith("ComparisonOperator"):
        return len({operator.startswith("Is") for operator in operators}) == 1
    return not kind.endswith("ExceptionReplacer")


def _matters(leaf: NodeOrLeaf) -> bool:
    """Tell whether a change can matter when the program runs, and to more than the words of a message."""
    in_text = False
    inner, outer = leaf, leaf.parent
    while outer is not None:
        in_text = in_text or outer.type == "fstring"
        if _is_for_type_checkers(inner, outer) or (in_text and outer.type == "raise_stmt"):
            return False
        inner, outer = outer, outer.parent
    return True


def _is_for_type_checkers(inner: NodeOrLeaf, outer: BaseNode) -> bool:  # noqa: PLR0911 - one for each kind
    match outer.type:
        case "parameters" | "param":
            return inner.type == "operator"  # a ``*``, which is no multiplication
        case "annassign":
            return inner is outer.children[1] or outer.children[1].get_code().strip() == "TypeAlias"
        case "tfpdef":
            return inner is outer.children[2]
        case "funcdef":
            return inner is outer.annotation
        case "atom_expr":
            return outer.children[0].get_code().strip() == "TypeVar"
        case "decorator":
            return outer.get_code(include_prefix=False).strip() in TYPING_ONLY
        case "decorated":
            return outer.children[0].get_code(include_prefix=False).strip() == "@overload"
        case "if_stmt":
            return outer.children[1].get_code().strip() == "TYPE_CHECKING"
        case _:
            return False


def _compiles(source: str) -> bool:
    """Tell whether it is Python."""
    try:
        compile(source, "mutant", "exec")
    except SyntaxError:
        return False
    return True


def _name(node: NodeOrLeaf) -> str:
    """Name the function or the class that the node is in, or that it decorates."""
    names = []
    inner, outer = node, node.parent
    while outer is not None:
        if outer.type in {"classdef", "funcdef"}:
            names.append(outer.name.value)
        elif outer.type == "decorated" and inner is not outer.children[-1]:
            names.append(outer.children[-1].name.value)
        inner, outer = outer, outer.parent
    return ".".join(reversed(names))


def _difference(before: str, after: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    lines = list(unified_diff(before.splitlines(), after.splitlines(), lineterm="", n=0))[3:]
    removed, added = (
        tuple(line[1:].strip() for line in lines if line[0] == sign and line[1:].strip()) for sign in "-+"
    )
    return removed, added
