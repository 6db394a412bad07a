"""Attributes and names that applications and ``micropie`` lack, and other frameworks have."""

from __future__ import annotations

from importlib import import_module

import pytest

import micropie
from micropie import App
from micropie.cli.serving.reloading import CHILD_PORT
from tests.support.clients import MakeClient


def with_attribute(name: str, value: object) -> App:
    app = App()
    setattr(app, name, value)
    return app


@pytest.mark.parametrize(
    ("app", "words"),
    [
        (
            with_attribute("debug", True),
            "App.debug has no effect as an attribute: write App(debug=...)",
        ),
        (type("Key", (App,), {"secret_key": "k"})(), "write Key(secret_key=...)"),
        (with_attribute("max_body_size", 5), "write App(max_body_size=...)"),
        (type("Old", (App,), {"_cp_config": {}})(), "_cp_config has no effect here"),
        (App(debug=True), ""),
        (with_attribute("debug", len), ""),
    ],
)
def test_attributes_that_are_not_settings_are_reported_at_startup(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, app: App, words: str
) -> None:
    monkeypatch.setenv(CHILD_PORT, "8000")  # as ``micropie run --reload`` does
    app._micropie.compiled()
    assert words in caplog.text
    assert ("not a setting" in caplog.text or "has no effect" in caplog.text) is (words != "")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("include_router", 'write app.mount("/prefix", other)'),
        ("before_request", "write app.middlewares.append(hook)"),
        ("on_event", "write App(lifespan=...)"),
        ("errorhandler", "write @app.error(404) above a function"),
        ("add_url_rule", 'write @app.route("/path", ["GET"])'),
        ("config", "write settings as keywords"),
        ("test_client", "write TestClient(app)"),
    ],
)
def test_another_framework_s_method_is_explained_and_can_be_defined(
    make_client: MakeClient, name: str, words: str
) -> None:
    app = App()
    assert not hasattr(app, name)
    with pytest.raises(AttributeError) as caught:
        getattr(app, name)
    assert words in str(caught.value)
    setattr(app, name, 5)
    assert getattr(app, name) == 5
    named: App = type("Named", (App,), {name: lambda self: "handler"})()
    assert make_client(named).get(f"/{name}").text == "handler"


class Failing(App):
    @property
    def config(self) -> str:
        return [].text  # type: ignore[attr-defined, no-any-return]


def test_a_property_raises_its_own_error() -> None:
    with pytest.raises(AttributeError, match="'list' object has no attribute 'text'"):
        _ = Failing().config
    with pytest.raises(AttributeError, match="'Failing' object has no attribute 'other'"):
        Failing().other  # type: ignore[attr-defined] # noqa: B018


def test_a_name_of_another_framework_is_missing_like_any_name() -> None:
    """Tools ask for names by ``hasattr``, ``getattr`` with a default, and ``find_spec``."""
    assert not hasattr(micropie, "Depends")
    assert getattr(micropie, "Depends", None) is None
    with pytest.raises(
        AttributeError, match=r"no Depends: write a parameter such as db: Db, and @app"
    ):
        _ = micropie.Depends
    with pytest.raises(
        ImportError, match=r"no Depends: write a parameter such as db: Db, and @app"
    ):
        exec("from micropie import App, Depends")
    with pytest.raises(AttributeError, match="module 'micropie' has no attribute 'pumpkin'"):
        _ = micropie.pumpkin
    with pytest.raises(ImportError, match="cannot import name 'pumpkin'"):
        exec("from micropie import pumpkin")


@pytest.mark.parametrize(
    ("name", "advice"),
    [
        ("StreamingResponse", r"a handler with yield, or return Response\(chunks\(\)"),
        ("EventSourceResponse", r"return EventStream\(events\(\)\)"),
    ],
)
def test_the_class_of_a_stream_in_other_frameworks_is_explained(name: str, advice: str) -> None:
    with pytest.raises(ImportError, match=rf"no {name}: write {advice}"):
        exec(f"from micropie import {name}")


@pytest.mark.parametrize(
    "package", ["channels", "config", "middleware", "openapi", "sessions", "testing"]
)
def test_a_name_of_another_package_is_explained(package: str) -> None:
    module = import_module(f"micropie.{package}")
    for name in {*module.__all__} - {*micropie.__all__}:
        line = rf"^micropie has no {name}: write from micropie.{package} import {name}$"
        with pytest.raises(ImportError, match=line):
            exec(f"from micropie import {name}")
