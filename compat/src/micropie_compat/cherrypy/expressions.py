"""Evaluate the values in configuration files. They are Python expressions that may contain
literals, names of modules and built-ins, calls, ``+``, ``*`` and a minus sign, as in CherryPy.

``eval`` isn't used because it allows more than configuration needs.
"""

from __future__ import annotations

import ast
import builtins
import sys
from importlib import import_module
from types import ModuleType
from typing import Any

_HERE = __name__.rpartition(".")[0]


def unrepr(text: str) -> object:
    """Return the value of an expression, given as a string.

    Raises ``TypeError`` for syntax that isn't supported, and any exception that a call in the
    expression raises.
    """
    return _value(ast.parse(text.strip(), mode="eval").body) if text else text


def attributes(path: str) -> Any:
    """Import an object by its dotted path, ``package.module.name``, and return it.

    Raises ``ImportError`` if the module can't be imported, ``AttributeError`` if it lacks the
    object.
    """
    module, _, name = path.rpartition(".")
    return getattr(modules(module), name)


def modules(name: str) -> ModuleType:
    """Import a module and return it; ``cherrypy`` is this package."""
    if name == "cherrypy" or name.startswith("cherrypy."):
        name = _HERE + name.removeprefix("cherrypy")
    return sys.modules.get(name) or import_module(name)


def _value(node: ast.expr) -> Any:
    match node:
        case ast.Constant():
            return node.value
        case ast.Tuple():
            return tuple(map(_value, node.elts))
        case ast.List():
            return list(map(_value, node.elts))
        case ast.Dict() if None not in node.keys:
            return {
                _value(key): _value(value)
                for key, value in zip(node.keys, node.values, strict=True)
                if key
            }
        case ast.UnaryOp(op=ast.USub()):
            return -_value(node.operand)
        case ast.BinOp(op=ast.Add()):
            return _value(node.left) + _value(node.right)
        case ast.BinOp(op=ast.Mult()):
            return _value(node.left) * _value(node.right)
        case ast.Subscript():
            return _value(node.value)[_value(node.slice)]
        case ast.Name():
            return _named(node.id)
        case ast.Attribute():
            owner = _value(node.value)
            if isinstance(owner, ModuleType) and not hasattr(owner, node.attr):
                return import_module(f"{owner.__name__}.{node.attr}")
            return getattr(owner, node.attr)
        case ast.Call():
            values: dict[str, object] = {}
            # Put keyword arguments after ``**mapping``, so that they override its values.
            for keyword in sorted(node.keywords, key=lambda keyword: keyword.arg is not None):
                value = _value(keyword.value)
                values.update({keyword.arg: value} if keyword.arg else value)
            return _value(node.func)(*map(_value, node.args), **values)
    raise TypeError(f"{ast.unparse(node)} is not allowed in configuration")


def _named(name: str) -> object:
    if hasattr(builtins, name):
        return getattr(builtins, name)
    try:
        return modules(name)
    except ImportError:
        raise TypeError(f"{name} is neither a module nor a built-in; text needs quotes") from None
