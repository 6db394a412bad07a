"""CherryPy's own tutorial programs, as they are installed with it: every page that their links lead
to is on ours as on the original.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import cherrypy as original
import cherrypy.tutorial
import pytest

from micropie_compat import cherrypy as ours
from micropie_compat.stand_in import is_below
from tests.support.clients import MakeClient

PROGRAMS = sorted(Path(cherrypy.tutorial.__file__).parent.glob("tut[0-9]*.py"))
Page = tuple[int, str, str, str]


def pages(
    file: Path, cherrypy: Any, monkeypatch: pytest.MonkeyPatch, client_of: Any
) -> dict[str, Page]:
    """Run a program on a framework; return status, type, location and text of its pages."""
    tree = cherrypy._cptree.Tree()
    # tut10 toggles it for the process, and another test may have done so
    monkeypatch.setitem(cherrypy.config, "request.show_tracebacks", True)

    def quickstart(root: object, script_name: str = "", config: Any = None) -> None:
        tree.mount(root, script_name, config)

    with monkeypatch.context() as patch:
        for name, module in [*sys.modules.items()] if cherrypy is ours else []:
            if is_below(name, ours.__name__):
                patch.setitem(sys.modules, name.removeprefix("micropie_compat."), module)
        patch.setattr(cherrypy, "quickstart", quickstart)
        names = {"__name__": "__main__", "__file__": str(file)}
        exec(compile(file.read_text(), str(file), "exec"), names)
    client = client_of(tree)
    found: dict[str, Page] = {}
    left = ["/", "/none"]
    while left:
        path = left.pop()
        answer = client.get(path, follow_redirects=False)
        kind, text = answer.headers.get("content-type", ""), answer.text
        location = answer.headers.get("location", "")
        if answer.status_code >= 400:  # with another text, see the guide
            kind, text = kind.partition(";")[0], ""
        found[path] = (
            answer.status_code,
            kind,
            location,
            re.sub(r"[0-9a-f]{40}|\d\d:\d\d", "", text),
        )
        for link in re.findall(r"(?:href|action)=[\"']?([^\"'> ]+)", text):
            target = str(answer.url.join(link).raw_path.decode())
            if answer.url.join(link).host == answer.url.host:
                for further in (target, f"{target}?name=Ann", f"{target}/x"):
                    if further not in found and further not in left and len(further) < 60:
                        left.append(further)
    return found


@pytest.mark.parametrize("file", PROGRAMS, ids=lambda file: file.stem)
def test_each_tutorial_responds_as_in_the_original(
    file: Path, world: str, connect: MakeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = pages(
        file, original, monkeypatch, lambda tree: connect(tree, "wsgi", validate=False)
    )
    assert pages(file, ours, monkeypatch, lambda tree: connect(tree, world)) == expected
    assert len(expected) > 1
    assert expected["/"][0] == 200
