"""Small mistakes made on purpose in a module: the operators are mutmut's.

mutmut itself puts a function with ``*args`` in front of each one that it changes, and leaves out
those with a decorator. Here the code of a function is exchanged in a process that has imported
everything, so signatures stay what they are.

Left out: annotations, defaults of parameters, what is outside of functions, ``assert``, docstrings,
and the texts for people, which are the arguments of an exception that is raised and of a logger's
methods; and strings in another case, since most are names of headers, which have none.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import Any, NamedTuple

import libcst as cst
import libcst.metadata
from mutmut.mutation.mutators import mutation_operators


class Mutant(NamedTuple):
    """A changed module.

    ``line``: where the change begins; ``before`` and ``after``: what was changed.
    """

    line: int
    before: str
    after: str
    source: str


class _Visitor(cst.CSTVisitor):
    METADATA_DEPENDENCIES = (
        libcst.metadata.PositionProvider,
        libcst.metadata.ByteSpanPositionProvider,
    )

    def __init__(self) -> None:
        self.found: list[tuple[cst.CSTNode, cst.CSTNode, int, Any]] = []
        self._functions = 0

    def on_visit(self, node: cst.CSTNode) -> bool:
        if isinstance(
            node,
            cst.Annotation | cst.Decorator | cst.Param | cst.Assert | cst.Import | cst.ImportFrom,
        ):
            return False
        if isinstance(node, cst.Raise | cst.Call) and _is_for_people(node):
            return False
        if isinstance(node, cst.Expr) and isinstance(node.value, cst.SimpleString):  # a docstring
            return False
        if isinstance(node, cst.FunctionDef):
            self._functions += 1
            return True
        if self._functions:
            line = self.get_metadata(libcst.metadata.PositionProvider, node).start.line
            span = self.get_metadata(libcst.metadata.ByteSpanPositionProvider, node)
            for kind, operator in mutation_operators:
                for changed in operator(node) if isinstance(node, kind) else ():
                    if not _is_other_case(node, changed):
                        self.found.append((node, changed, line, span))
        return True

    def on_leave(self, original_node: cst.CSTNode) -> None:
        if isinstance(original_node, cst.FunctionDef):
            self._functions -= 1


def _is_for_people(node: cst.Raise | cst.Call) -> bool:
    """Return whether this raises an exception with a text alone, or writes to the log."""
    call = node.exc if isinstance(node, cst.Raise) else node
    if not isinstance(call, cst.Call):
        return False
    if isinstance(node, cst.Raise):
        # that a value does not convert
        if isinstance(call.func, cst.Name) and call.func.value == "ValueError":
            return True
        return all(isinstance(argument.value, cst.BaseString) for argument in call.args)
    function = call.func
    if not isinstance(function, cst.Attribute) or not isinstance(function.value, cst.Name):
        return False
    return function.value.value == "logger"


def _is_other_case(node: cst.CSTNode, changed: cst.CSTNode) -> bool:
    if not isinstance(node, cst.SimpleString) or not isinstance(changed, cst.SimpleString):
        return False
    return node.value.lower() == changed.value.lower()


def mutants_of(source: str) -> Iterator[Mutant]:
    """Yield every mutant of a module that is Python still."""
    wrapper = libcst.metadata.MetadataWrapper(cst.parse_module(source))
    visitor = _Visitor()
    wrapper.visit(visitor)
    module, data = wrapper.module, source.encode()
    for node, changed, line, span in visitor.found:
        # To replace the text takes a thousandth of the time of replacing the node in the tree.
        after = module.code_for_node(changed)
        text = (data[: span.start] + after.encode() + data[span.start + span.length :]).decode()
        try:
            ast.parse(text)
        except SyntaxError:
            continue
        yield Mutant(line, _one_line(module.code_for_node(node)), _one_line(after), text)


def _one_line(code: str) -> str:
    return " ".join(code.split())
