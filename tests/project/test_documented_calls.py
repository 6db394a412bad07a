"""The calls that public docstrings and the pages of the reference show fit the signatures, and the
functions that they show can be registered.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import re
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from micropie import App
from tests.support.clients import MakeClient

MODULES = [
    "micropie",
    *(
        f"micropie.{name}"
        for name in (
            "channels", "config", "extensions", "middleware", "openapi", "sessions", "testing",
        )
    ),
]  # fmt: skip
# What a docstring calls an instance of these.
INSTANCES = {
    "app": "micropie.App",
    "auth": "micropie.middleware.BearerAuth",
    "channels": "micropie.channels.Channels",
    "client": "micropie.testing.TestClient",
    "errors": "micropie.BindingErrors",
    "files": "micropie.MultiDict",
    "request": "micropie.Request",
    "session": "micropie.sessions.Session",
    "waiter": "micropie.extensions.TaskWaiter",
    "ws": "micropie.WebSocket",
}


def public() -> Iterator[tuple[str, Any]]:
    """Yield all public names, and those of the classes' methods and properties."""
    for module in map(importlib.import_module, MODULES):
        for name in module.__all__:
            found = getattr(module, name)
            yield f"{module.__name__}.{name}", found
            for own, member in inspect.getmembers(found) if inspect.isclass(found) else ():
                if not own.startswith("_") and own in vars(found):
                    yield f"{module.__name__}.{name}.{own}", member


PUBLIC = dict(public())
DOCUMENTED = {
    name: text
    for name, found in PUBLIC.items()
    if (callable(found) or isinstance(found, property)) and (text := inspect.getdoc(found))
}
# What stands in a line of the pages. Other tests run their blocks.
for page in sorted((Path(__file__).parents[2] / "docs" / "reference").glob("*.md")):
    lines = re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)
    DOCUMENTED[page.stem] = "\n".join(f"``{one}``" for one in re.findall(r"`([^`]+)`", lines))


def snippets(text: str) -> Iterator[ast.AST]:
    """Yield the code of a docstring, between backticks and in blocks, as far as it is Python."""
    inline = (" ".join(one.split()) for one in re.findall(r"``([^`]+)``", text))
    blocks = map(textwrap.dedent, re.findall(r"::\n\n((?:    .*(?:\n|\Z)|\n)+)", text))
    for code in (*inline, *blocks):
        for whole in (code, f"{code}: ...", f"{code} ...", f"{code}\ndef of(): ..."):
            try:
                tree = ast.parse(f"async def around():\n{textwrap.indent(whole, '    ')}")
            except SyntaxError:
                continue
            yield tree
            break


def target_of(call: ast.Call) -> str:
    """Return the name of the public function that a call is one of, or the empty text."""
    path = ast.unparse(call.func).removeprefix("self.").split(".")
    if path[0] in INSTANCES and len(path) == 2:
        return f"{INSTANCES[path[0]]}.{path[1]}"
    wanted = ".".join(path)
    return next((f"{place}.{wanted}" for place in MODULES if f"{place}.{wanted}" in PUBLIC), "")


def bind(target: str, call: ast.Call) -> bool:
    """Give the arguments of a call to a signature. Return False for a call without arguments, which
    is only a name, and for one whose function is no public one.

    Raises ``TypeError`` if the function does not take them.
    """
    found, is_method = PUBLIC.get(target), target.rpartition(".")[0] in INSTANCES.values()
    if not callable(found) or not (call.args or call.keywords):
        return False
    values = [*call.args, *(one.value for one in call.keywords)]
    is_short = any(ast.unparse(value).startswith(("...", "*")) for value in values)
    listed = [one for one in call.args if not ast.unparse(one).startswith(("...", "*"))]
    given = [None] * (len(listed) + (is_method and not inspect.ismethod(found)))
    named = {str(one.arg): None for one in call.keywords if one.arg}
    signature = inspect.signature(found)
    (signature.bind_partial if is_short else signature.bind)(*given, **named)
    return True


def calls(text: str) -> Iterator[tuple[str, ast.Call]]:
    for tree in snippets(text):
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and (target := target_of(node)):
                yield target, node


def test_documented_calls_match_the_signatures() -> None:
    failures = []
    for name, text in DOCUMENTED.items():
        for target, call in calls(text):
            try:
                bind(target, call)
            except TypeError as error:
                failures.append(f"{name} shows {ast.unparse(call)}, but {target}: {error}")
    assert failures == []


def test_many_calls_are_documented() -> None:
    """A change of the docstrings' form must not empty the test above."""
    found = [bind(*one) for text in DOCUMENTED.values() for one in calls(text)]
    assert found.count(True) > 40
    wrong = "``app.get()``: ``app.mount('/', App(), place='x')``"
    with pytest.raises(TypeError, match="place"):
        [bind(*one) for one in calls(wrong)]


def test_documented_error_handlers_are_called(make_client: MakeClient) -> None:
    shown = [
        node
        for tree in snippets(DOCUMENTED["micropie.App.error"])
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef) and node.name != "of"
    ]
    assert shown
    for node in shown:
        node.body = ast.parse(f"return '{node.name}'").body
        names: dict[str, Any] = {}
        exec(ast.unparse(node), names)
        app = App()
        app.error(404)(names[node.name])
        assert make_client(app).get("/nowhere").text == node.name
