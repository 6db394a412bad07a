"""``cherrypy.test.helper.CPWebCase``: the tests of a migrated program."""

from __future__ import annotations

import unittest
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from functools import partial
from typing import Any, ClassVar

import pytest

from micropie_compat import cherrypy
from micropie_compat.cherrypy.test import helper


class Root:
    @cherrypy.expose
    def echo(self, message: str) -> str:
        return message

    @cherrypy.expose
    def seen(self, **values: Any) -> str:
        request = cherrypy.request
        cookies = sorted(f"{name}={one.value}" for name, one in request.cookie.items())
        cherrypy.response.headers["X-List"] = "a, b"
        return f"{request.method} {values} {cookies} {request.headers.get('X-A')} {cherrypy.url()}"

    @cherrypy.expose
    def log_in(self) -> str:
        cherrypy.response.cookie["a"] = "1"
        cherrypy.response.cookie["b"] = "2"
        return "in"

    @cherrypy.expose
    def refuse(self) -> str:
        raise cherrypy.HTTPError(403, "Not you.")


class Program(helper.CPWebCase):
    """As CherryPy's manual has it."""

    __test__ = False  # it is run below
    script_name = "/app/"

    @staticmethod
    def setup_server() -> None:
        cherrypy.tree.mount(Root(), "/app")

    def test_a_page_can_be_requested_and_checked(self) -> None:
        assert self.getPage("/echo?message=Hello%20world") == (
            "200 OK",
            self.headers,
            b"Hello world",
        )
        self.assertStatus("200 OK")
        self.assertStatus(200)
        self.assertStatus((404, "200 OK"))
        assert self.assertHeader("Content-Type", "text/html;charset=utf-8").startswith("text/html")
        self.assertHeader("content-length")
        self.assertHeaderIn("Content-Length", [1, 11])
        self.assertNoHeader("X-None")
        self.assertBody("Hello world")
        self.assertInBody(b"lo wo")
        self.assertNotInBody("none")
        assert self.assertMatchesBody(r"w(o)r").group(1) == b"o"

    def test_a_query_that_is_not_utf8_gets_a_404(self) -> None:
        headers = [("Accept-Charset", "ISO-8859-1,utf-8"), ("Content-Type", "text/html")]
        self.getPage("/echo?message=A+bient%F4t", headers=headers)
        self.assertStatus("404 Not Found")

    def test_requests_can_have_cookies_headers_and_a_body(self) -> None:
        self.getPage("log_in")
        assert self.cookies == [("Cookie", "a=1"), ("Cookie", "b=2")]
        headers = [*self.cookies, ("X-A", "1"), ("X-A", "2"), ("Host", "h.example")]
        self.getPage("/seen", headers, "POST", "name=%C3%BC")
        self.assertBody("POST {'name': 'ü'} ['a=1', 'b=2'] 1, 2 http://h.example/app/seen")
        assert self.assertHeaderItemValue("X-List", "b") == "a, b"
        self.getPage("/seen", [("Content-Length", "3")], "PUT", b"a=1", protocol="HTTP/1.0")
        self.assertInBody("PUT {'a': '1'}")
        assert (self.prefix(), self.base()) == ("/app", "http://127.0.0.1:54583/app")

    def test_an_error_page_can_be_checked(self) -> None:
        self.getPage("/refuse")
        self.assertErrorPage(403, "Not you.", "<h2>403 Forb")

    def test_dates_can_be_compared_and_a_test_skipped(self) -> None:
        now = datetime.now()
        self.assertEqualDates(now, now + timedelta(seconds=0.5))
        self.skip("enough")


class Other(helper.CPWebCase):
    __test__ = False

    @staticmethod
    def setup_server() -> None:
        cherrypy.config.update({"of.this": "case"})
        cherrypy.tree.mount(Root(), "/other")

    def test_another_case_leaves_no_application_and_no_configuration(self) -> None:
        assert list(cherrypy.tree.apps) == ["/other"]
        assert "of.another" not in cherrypy.config
        assert cherrypy.config["of.this"] == "case"

    def test_a_form_may_be_empty(self) -> None:
        for method in ("POST", "PUT", "PATCH"):
            self.getPage("/other/seen", method=method)
            self.assertInBody(f"{method} {{}} []")


class Served(helper.CPWebCase):
    """Notes in ``order`` what is called."""

    order: ClassVar[list[str]]

    @classmethod
    def setup_server(cls) -> None:
        cls.order.append("server")
        cherrypy.tree.mount(Root(), "/")


class TestByPytest(Served):
    """pytest calls an override of ``setup_class``, once and before ``setup_server``."""

    order: ClassVar[list[str]] = []

    @classmethod
    def setup_class(cls) -> None:
        cls.order.append("begin")
        super().setup_class()

    @classmethod
    def teardown_class(cls) -> None:
        cls.order.clear()
        super().teardown_class()

    def test_a_page_can_be_requested(self) -> None:
        self.getPage("/echo?message=x")
        self.assertBody("x")
        assert self.order == ["begin", "server"]


class TestByPytestWithoutOverrides(Served):
    order: ClassVar[list[str]] = []

    def test_a_page_can_be_requested(self) -> None:
        self.getPage("/echo?message=x")
        self.assertBody("x")
        assert self.order == ["server"]


def teardown_module() -> None:
    cherrypy.tree.apps.clear()
    reset()


def reset() -> None:
    cherrypy.config.reset()
    vars(cherrypy.server).pop("socket_port", None)


class Bare(helper.CPWebCase):
    __test__ = False

    def test_a_test_case_works_without_a_server(self) -> None:
        self.getPage("/none/such")
        self.assertStatus(404)


@pytest.fixture(autouse=True)
def tree() -> Iterator[None]:
    apps = dict(cherrypy.tree.apps)
    yield
    cherrypy.tree.apps.clear()
    cherrypy.tree.apps.update(apps)
    reset()


def run(case: type[unittest.TestCase]) -> unittest.TestResult:
    result = unittest.TestResult()
    unittest.defaultTestLoader.loadTestsFromTestCase(case).run(result)
    return result


def test_unittest_runs_cherrypy_s_test_cases() -> None:
    cherrypy.config.update({"of.another": "case"})
    for case, number in ((Program, 5), (Other, 2), (Bare, 1)):
        result = run(case)
        assert (result.testsRun, result.failures, result.errors) == (number, [], [])


class Started(helper.CPWebCase):
    """Its plugins open a database before the first test, as under CherryPy."""

    __test__ = False
    states: ClassVar[list[str]] = []

    @classmethod
    def setup_server(cls) -> None:
        cherrypy.tree.mount(Root(), "")
        cls.states.append("mounted")

    def setUp(self) -> None:
        self.states.append("set up")

    def test_a_page_can_be_requested(self) -> None:
        self.getPage(f"{self.base()}/echo?message=http://x/")
        self.assertBody("http://x/")
        assert cherrypy.url("/a", script_name="", base=None) == f"{self.base()}/a"

    def test_another_page_can_be_requested(self) -> None:
        """Several requests start the engine once."""
        self.getPage("/seen")
        self.getPage(self.base())
        self.assertStatus(404)


@pytest.mark.parametrize(
    "name", ["test_a_page_can_be_requested", "test_another_page_can_be_requested"]
)
def test_the_engine_of_a_test_case_runs_from_its_set_up_to_its_end(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    # other tests may still serve applications
    monkeypatch.setattr(cherrypy.engine, "is_hosted", False)
    monkeypatch.setattr(cherrypy.engine, "_followers", [])
    monkeypatch.setattr(cherrypy.engine, "serves_itself", False)
    monkeypatch.setattr(cherrypy.engine, "state", cherrypy.engine.states.STOPPED)
    channels = {"start": "started", "stop": "stopped", "exit": "exited"}
    Started.states.clear()
    listeners = {channel: partial(Started.states.append, one) for channel, one in channels.items()}
    for channel, listener in listeners.items():
        cherrypy.engine.subscribe(channel, listener)
    result = unittest.TestResult()
    unittest.TestSuite([Started(name)]).run(result)
    for channel, listener in listeners.items():
        cherrypy.engine.unsubscribe(channel, listener)
    assert (result.testsRun, result.failures, result.errors) == (1, [], [])
    assert Started.states == ["mounted", "started", "set up", "stopped", "exited"]
    assert cherrypy.engine.state is cherrypy.engine.states.EXITING


WRONG: list[Callable[[Any], object]] = [
    lambda case: case.assertStatus("404 Not Found"),
    lambda case: case.assertHeader("X-None"),
    lambda case: case.assertHeader("Content-Type", "none"),
    lambda case: case.assertHeaderIn("Content-Type", ["none"]),
    lambda case: case.assertHeaderItemValue("Content-Type", "none"),
    lambda case: case.assertNoHeader("Content-Type"),
    lambda case: case.assertBody("none"),
    lambda case: case.assertInBody("none"),
    lambda case: case.assertNotInBody("x"),
    lambda case: case.assertMatchesBody("none"),
    lambda case: case.assertErrorPage(404),
    lambda case: case.assertEqualDates(datetime.now(), datetime.now() - timedelta(seconds=9)),
]


@pytest.mark.parametrize("number", range(len(WRONG)))
def test_failing_assertions_of_a_test_case_are_reported(number: int) -> None:
    class Failing(Program):
        def runTest(self) -> None:
            self.getPage("/echo?message=x")
            WRONG[number](self)

    Failing.setUpClass()
    with pytest.raises(AssertionError):
        Failing().runTest()
    Failing.tearDownClass()
    with pytest.raises(unittest.SkipTest):
        Failing().skip()
