"""A decorator of a route or an access check that makes no handler is a mistake, and never silently
a 404.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from textwrap import indent
from types import FunctionType
from typing import Any

import pytest

from micropie import App, SetupError, command, get, hidden, post, requires, route
from micropie.middleware import RateLimit  # noqa: F401 - in a text below
from tests.support.clients import MakeClient
from tests.support.modules import made_module


def members(request: Any) -> bool:
    return True


def without_wraps(function: Callable[..., Any]) -> Callable[..., Any]:
    return lambda *arguments: function(*arguments)


class Called:
    def __init__(self, function: Any = None) -> None:
        self.function = function

    def __call__(self) -> str:
        return ""


# The bodies of classes, in which each ``page`` is a mistake. They are texts, so that their
# functions have the names that functions in a class's body have.
BODIES = {
    '@get("/x")\n@hidden\ndef page(self): ...': "remove its @hidden or @command",
    '@command\n@get("/x")\ndef page(self): ...': "remove its @hidden or @command",
    "@hidden\n@requires(members)\ndef page(self): ...": "remove its @hidden or @command",
    "@get\ndef _page(self): ...": "give it a name without _ at the beginning",
    "@requires(members)\ndef _page(self): ...": "give it a name without _ at the beginning",
    '@property\n@get("/x")\ndef page(self): ...': "a property is not a function",
    "@property\n@RateLimit(5, per=60)\ndef page(self): ...": "a property is not a function",
    "@functools.cached_property\n@get\ndef page(self): ...": "a cached_property is not a function",
    '@get("/x")\n@functools.cached_property\ndef page(self): ...': "a cached_property is not a function",
    "@requires(members)\n@functools.cached_property\ndef page(self): ...": "a cached_property is not a function",
    "page = get(Called())": "a Called is not a function",
    "@Called\n@get\ndef page(self): ...": "a Called is not a function",
    "@get\nclass page: ...": "a type is not a function",
    '@without_wraps\n@get("/x")\ndef page(self): ...': "above all its other decorators",
    'page = functools.partialmethod(get("/x")(lambda self: ""))': "above all its other decorators",
}


def body(text: str) -> Any:
    namespace = {**globals()}
    exec("class Root(App):\n" + indent(text, "    "), namespace)
    return namespace["Root"]


def mistake(app: App) -> str:
    with pytest.raises(SetupError) as caught:
        app._micropie.compiled()
    return str(caught.value)


@pytest.mark.parametrize("text", BODIES)
def test_a_decorator_on_a_private_or_undecorated_class_member_is_refused(text: str) -> None:
    name = "_page" if "_page" in text else "page"
    expected = f"Root.{name}: the decorator of a route or an access check has no effect; "
    sentence = mistake(body(text)())
    assert sentence.startswith(expected)
    assert sentence.endswith(BODIES[text])


def test_an_access_check_alone_creates_no_route_with_explicit_exposure() -> None:
    guarded = body("@requires(members)\ndef page(self): ...")
    assert mistake(guarded(expose="explicit")).endswith(
        "write @get, @post or @route above all its other decorators"
    )
    guarded()._micropie.compiled()  # where its name is its route


@pytest.mark.parametrize("kind", ["staticmethod", "classmethod"])
def test_access_checks_may_be_below_a_route_decorator_with_explicit_exposure(kind: str) -> None:
    app = body(f'@{kind}\n@get("/x")\ndef page(*_): ...')(expose="explicit")
    assert [entry.route.pattern for entry in app._micropie.compiled().entries()] == ["/x"]


@pytest.mark.parametrize("value", [get("/x")(Called()), requires(members)(lambda: "")])
def test_a_decorated_value_in_an_instance_attribute_is_refused(value: Any) -> None:
    app: Any = App()
    app.page = value
    assert mistake(app).startswith(
        "self.page of App: the decorator of a route or an access check has no effect; "
    )


def test_an_instance_attribute_may_intentionally_hide_a_handler() -> None:
    root = body('@get("/x")\ndef page(self): ...')
    app = root()
    app.page = None
    app._micropie.compiled()
    app.page = app._alias = get("/y")(lambda: "")
    app._micropie.compiled()
    app.page = []
    assert mistake(app).endswith("; give the attribute self.page another name")


def test_decorated_members_of_other_classes_and_applications_are_accepted() -> None:
    base: Any = body('@get("/x")\ndef page(self): ...')
    child: Any = type("Child", (base,), {"page": hidden(lambda self: ""), "_page": base.page})
    app, other = child(), base()
    app._other, app.guarded, app.module = other.page, requires(members)(App()), functools
    app._micropie.compiled()


@pytest.mark.parametrize("register", ["command", "provides", "error"])
@pytest.mark.parametrize("above", [True, False])
def test_a_decorator_above_a_registered_function_is_refused(register: str, above: bool) -> None:
    app = App()
    arguments = {"command": (), "provides": (Called,), "error": (404,)}[register]
    decorate: Any = getattr(app, register)(*arguments) if arguments else app.command

    def page() -> None: ...

    get("/x")(decorate(page)) if above else decorate(get("/x")(page))
    assert mistake(app).endswith("or an error handler; write it above a handler")


def test_a_command_may_also_be_a_route() -> None:
    app = App()
    app.command(requires(members)(app.get("/x")(lambda: "")))
    app._micropie.compiled()


def test_a_function_that_takes_self_is_refused_as_a_handler() -> None:
    app = App()

    @app.get("/x")
    def page(self: Any) -> None: ...

    assert mistake(app).endswith("page is not a method: leave out the parameter self")


def test_an_application_s_decorator_above_a_method_is_refused() -> None:
    app = App()

    class Root(App):
        @app.post("/x")
        def page(self) -> None: ...

    assert mistake(app).endswith("Root.page is a method: write micropie.get above it, not app.get")


def test_an_object_with_routes_that_is_not_an_application_is_refused() -> None:
    class Blog:
        @post
        def index(self) -> None: ...

    app: Any = App()
    app.blog = app._blog = Blog()
    found = mistake(app)
    assert found == "blog is not an App, so its routes are never registered: write class Blog(App)"


@pytest.mark.parametrize("decorate", [get("/x"), route(), hidden, command])
@pytest.mark.parametrize("target", [property(len), len, Called().__call__])
def test_an_object_that_cannot_be_decorated_is_refused(decorate: Any, target: Any) -> None:
    with pytest.raises(SetupError, match="can't be decorated: use decorators on functions"):
        decorate(target)


def test_a_class_is_refused_as_a_handler() -> None:
    with pytest.raises(SetupError, match="a route decorator must be above a function, not <class"):
        App().get("/x")(Called)


GUARDED = """
import functools
from micropie import App, HTTPError, get, requires

app = App()

def guarded(function):
    @functools.wraps(function)
    def inner(*args):
        raise HTTPError(403)
    return inner

def members(request):
    raise HTTPError(403)
"""


def module_with(monkeypatch: pytest.MonkeyPatch, code: str) -> App:
    module = made_module("shop")
    monkeypatch.setitem(sys.modules, "shop", module)
    exec(GUARDED + code, module.__dict__)
    app: App = module.__dict__["app"]
    return app


def test_an_access_check_above_the_route_of_a_function_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    app = module_with(monkeypatch, "@guarded\n@app.get('/secret')\ndef secret(): ...")
    with pytest.raises(
        SetupError,
        match=r"^the route of secret skips .* move the route decorator, such as @app.get, above all",
    ):
        app._micropie.compiled()


@pytest.mark.parametrize(
    "code",
    [
        "@app.get('/secret')\n@guarded\ndef secret(): ...",
        "@requires(members)\n@app.get('/secret')\ndef secret(): ...",
        "def make():\n    @guarded\n    @app.get('/secret')\n    @guarded\n    def secret(): ...\n"
        "make()\nsecret = None",
    ],
)
def test_an_access_check_below_the_route_of_a_function_protects_it(
    make_client: MakeClient, monkeypatch: pytest.MonkeyPatch, code: str
) -> None:
    client = make_client(module_with(monkeypatch, code))
    assert client.get("/secret").status_code == 403


def rebuilt(target: Any) -> Any:
    """Replace a function, or those of a class, by new ones without attributes, like typeguard."""
    if isinstance(target, type):
        for name in [name for name, one in vars(target).items() if isinstance(one, FunctionType)]:
            setattr(target, name, rebuilt(vars(target)[name]))
        return target
    code = target.__code__
    code = code.replace(co_consts=(*code.co_consts, "new"))
    return FunctionType(code, target.__globals__, target.__name__, None, target.__closure__)


def rebuilt_check() -> App:
    class Root(App):
        @get("/x")
        @rebuilt
        @requires(members)
        def page(self) -> None: ...

    return Root()


def rebuilt_class() -> App:
    @rebuilt
    class Root(App):
        @hidden
        def page(self) -> None: ...

    return Root()


def rebuilt_function() -> App:
    app = App()

    @app.get("/x")
    @rebuilt
    @requires(members)
    def page() -> None: ...

    return app


@pytest.mark.parametrize("make", [rebuilt_check, rebuilt_class, rebuilt_function])
def test_a_decorator_that_rebuilds_functions_never_drops_a_mark_silently(
    make: Callable[[], App],
) -> None:
    assert "replaces the function and drops its route, access checks or other" in mistake(make())


def test_a_rebuilt_function_may_have_marks_and_one_place_may_make_several_functions() -> None:
    def made(*, is_guarded: bool) -> Any:
        def page(self: Any) -> None: ...

        return requires(members)(page) if is_guarded else page

    class Root(App):
        @requires(members)
        @rebuilt
        def first(self) -> None: ...

        second, third = made(is_guarded=True), made(is_guarded=False)
        fourth, fifth = requires(members)(lambda self: 4), lambda self: 5

    Root()._micropie.compiled()
