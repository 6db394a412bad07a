"""Dictionaries, configuration and helpers: each test passes with the original as well, unless it
says otherwise.
"""

from __future__ import annotations

import copy
from datetime import date, datetime
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest

from micropie_compat import bottle as ours
from tests.support.clients import MakeClient
from tests.support.growth import calling, grows_too_fast


def test_a_multidict_stores_several_values_per_key(bottle: Any) -> None:
    values = bottle.MultiDict(a="1")
    values["a"] = "2"
    values.append("b", "3")
    assert (len(values), list(values), "a" in values, "c" in values) == (2, ["a", "b"], True, False)
    assert (values["a"], values.getall("a"), values.getlist("c")) == ("2", ["1", "2"], [])
    assert values.getone("a") == "2"
    assert list(values.values()) == ["2", "3"]
    assert list(values.items()) == [("a", "2"), ("b", "3")]
    assert list(values.allitems()) == [("a", "1"), ("a", "2"), ("b", "3")]
    assert (values.get("a", index=0), values.get("a", type=int)) == ("1", 2)
    assert values.get("a", 9, index=5) == 9
    assert values.get("a", 9, type=list.index) == 9
    values.replace("a", "x")
    del values["b"]
    assert (values.getall("a"), list(values.keys())) == (["x"], ["a"])


def test_form_fields_are_available_as_attributes(bottle: Any) -> None:
    fields = bottle.FormsDict(a="1")
    assert (fields.a, fields.none) == ("1", "")
    assert (fields.getunicode("a"), fields.getunicode("none", "default")) == ("1", "default")
    assert list(fields.decode().allitems()) == [("a", "1")]
    with pytest.raises(AttributeError):
        fields.__deepcopy__  # noqa: B018


def test_form_fields_are_text() -> None:
    fields = ours.FormsDict(a="ä", n=3)
    assert fields["a"] == fields.a == fields.getunicode("a") == "ä"
    assert fields.getunicode("a", encoding="utf-8") == "ä"
    assert fields.getunicode("a", "no", encoding="ascii") == "no"
    assert fields.getunicode("a", encoding="latin-1") == "Ã¤"
    assert fields.decode("latin-1")["a"] == "Ã¤"
    assert fields.decode("latin-1")["n"] == 3
    assert copy.copy(fields).a == "ä"


def test_header_names_are_case_insensitive(bottle: Any) -> None:
    headers = bottle.HeaderDict({"x_one": 1})
    headers["X-TWO"] = "2"
    headers.append("x-two", b"3")
    assert dict(headers.allitems()) == {"X-One": "1", "X-Two": "3"}
    assert (headers["x_two"], headers.getall("X-Two")) == ("3", ["2", "3"])
    assert headers.get("x-none", "default") == "default"
    assert ("x-one" in headers, "x" in headers) == (True, False)
    headers.replace("X-Two", "4")
    assert headers.getall("X-Two") == ["4"]
    headers.filter(["x-two", "x-none"])
    del headers["x-one"]
    assert len(headers) == 0
    assert headers.getall("x") == []
    for name, value in (("a\n", "b"), ("a", "b\r"), ("a", "b\0")):
        with pytest.raises(ValueError, match="control character"):
            headers[name] = value


def test_a_request_s_headers_are_a_view_of_its_environ(bottle: Any) -> None:
    environ = {
        "HTTP_X_A": "1",
        "CONTENT_TYPE": "text/x",
        "CONTENT_LENGTH": "3",
        "other": "",
        "HTTP_U": "Ã¤",
    }
    headers = bottle.WSGIHeaderDict(environ)
    assert sorted(headers) == ["Content-Length", "Content-Type", "U", "X-A"]
    assert (headers["x-a"], headers["Content-Type"], headers["u"]) == ("1", "text/x", "ä")
    assert len(headers) == 4
    asked = (headers.raw("u"), headers.raw("none", 1), "X_A" in headers, "none" in headers)
    assert asked == ("Ã¤", 1, True, False)
    with pytest.raises(TypeError, match="WSGIHeaderDict"):
        headers["a"] = "b"
    with pytest.raises(TypeError, match="WSGIHeaderDict"):
        del headers["x-a"]


def test_a_configuration_is_loaded_from_a_file(bottle: Any, tmp_path: Path) -> None:
    path = tmp_path / "app.ini"
    path.write_text(
        "[bottle]\nDebug = on\nempty\n[ROOT]\na = ${bottle:debug}\n[sql.one]\nUrl = x\n"
    )
    config = bottle.ConfigDict().load_config(str(path))
    assert config == {"debug": "on", "empty": None, "a": "on", "sql.one.url": "x"}


def test_a_configuration_is_loaded_from_dictionaries(bottle: Any) -> None:
    config = bottle.ConfigDict().load_dict({"a": {"b": {"c": 1}}, "d": 2})
    config.update("name.space", x=3)
    config.update({"e": 4}, f=5)
    assert config == {"a.b.c": 1, "d": 2, "name.space.x": 3, "e": 4, "f": 5}
    assert (config.setdefault("d", 9), config.setdefault("g", 9)) == (2, 9)
    del config["d"]
    assert "d" not in config
    for wrong in (partial(config.load_dict, {1: 2}), partial(config.__setitem__, 1, 2)):
        with pytest.raises(TypeError):
            wrong()
    with pytest.raises(KeyError):
        del config["none"]


def test_a_configuration_is_loaded_from_a_module(
    bottle: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "settings_of_bottle.py").write_text("DEBUG = True\nSQL = {'URL': 'x'}\nlower = 1\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert bottle.ConfigDict().load_module("settings_of_bottle") == {"DEBUG": True, "SQL.URL": "x"}
    found = bottle.ConfigDict().load_module("settings_of_bottle", False)
    assert found == {"DEBUG": True, "SQL": {"URL": "x"}}
    (tmp_path / "classes_of_bottle.py").write_text("class Live:\n    PORT = 80\n")
    assert bottle.ConfigDict().load_module("classes_of_bottle:Live") == {"PORT": 80}


def test_a_configuration_stores_metadata_of_keys(bottle: Any) -> None:
    config = bottle.ConfigDict()
    config.meta_set("port", "filter", int)
    config["port"] = "80"
    assert (config["port"], config.meta_get("port", "filter")) == (80, int)
    assert config.meta_get("none", "x", 1) == 1
    assert (list(config.meta_list("port")), list(config.meta_list("none"))) == (["filter"], [])


def test_a_route_sees_its_application_s_configuration(bottle: Any) -> None:
    app = bottle.Bottle()
    changes: list[Any] = []
    app.hook("config")(lambda config, key, value: changes.append((key, value)))
    app.config["a"] = 1
    app.config["a"] = 1
    app.route("/", callback=lambda: "", own="x", a=None)
    app.route("/two", callback=lambda: "")
    own, two = (route.config for route in app.routes)
    assert (own["own"], own["a"], two["a"]) == ("x", None, 1)
    app.config["b"] = 2
    app.config["a"] = 3
    assert (own["b"], own["a"], two["a"]) == (2, None, 3)
    del own["a"]
    assert own["a"] == 3
    with pytest.raises(KeyError):
        del two["a"]
    del app.config["a"]
    assert ("a" in two, "a" in own) == (False, False)
    two["b"] = 5
    del app.config["b"]
    assert ("b" in two, "b" in own) == (True, False)
    assert changes == [("a", 1), ("b", 2), ("a", 3), ("a", None), ("b", None)]


def test_helper_functions_behave_as_in_bottle(bottle: Any) -> None:
    assert (bottle.tob("ä"), bottle.tob(b"x"), bottle.tob(None)) == ("ä".encode(), b"x", b"")
    assert (bottle.touni(b"x"), bottle.touni("x"), bottle.touni(None)) == ("x", "x", "")
    assert bottle.tonat(3) == "3"
    assert bottle.makelist("a") == ["a"]
    assert (bottle.makelist(("a",)), bottle.makelist(None)) == (["a"], [])
    assert bottle.html_escape("<&>") == "&lt;&amp;&gt;"
    assert bottle.html_quote('<"\n\r\t') == '"&lt;&quot;&#10;&#13;&#9;"'
    assert bottle.parse_auth("Basic YTpiOmM=") == ("a", "b:c")
    assert bottle.parse_auth("basic\tYTpi ") == ("a", "b")
    for wrong in ("", "Basic", "Digest YTpi", "Basic YQ==", "Basic !", "Basic /w=="):
        assert bottle.parse_auth(wrong) is None
    for text in (
        "Sun, 06 Nov 1994 08:49:37 GMT",
        "Sunday, 06-Nov-94 08:49:37 GMT",
        "Sun Nov  6 08:49:37 1994",
    ):
        assert bottle.parse_date(text) == 784111777
    assert bottle.parse_date("nonsense") is None
    assert bottle.parse_date("Sun, 06 Nov 99999 08:49:37 GMT") is None
    expected = "Thu, 01 Jan 1970 00:00:00 GMT"
    found = [bottle.http_date(x) for x in (0, date(1970, 1, 1), datetime(1970, 1, 1), expected)]
    assert found == [expected] * 4


@pytest.mark.parametrize(
    ("script", "path", "shift", "expected"),
    [
        ("/a", "/b/c", 0, ("/a", "/b/c")),
        ("/a", "/b/c", 1, ("/a/b", "/c")),
        ("/", "/b/c/", 1, ("/b", "/c/")),
        ("", "/b/", 1, ("/b", "/")),
        ("/a/b", "/c", -1, ("/a", "/b/c")),
        ("/a", "/", -1, ("/", "/a/")),
        ("/a/b", "/c/", -2, ("/", "/a/b/c/")),
    ],
)
def test_path_shift_moves_segments(
    bottle: Any, script: str, path: str, shift: int, expected: Any
) -> None:
    assert bottle.path_shift(script, path, shift) == expected


@pytest.mark.parametrize(("shift", "empty"), [(3, "PATH_INFO"), (-2, "SCRIPT_NAME")])
def test_path_shift_refuses_to_move_too_many_segments(bottle: Any, shift: int, empty: str) -> None:
    with pytest.raises(AssertionError, match=empty):
        bottle.path_shift("/a", "/b/c", shift)


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("bytes=0-1,3-", [(0, 2), (3, 10)]),
        ("bytes=-3", [(7, 10)]),
        ("bytes=5-99,20-,3-2,x-,1", [(5, 10)]),
        ("", []),
        (None, []),
        ("lines=0-1", []),
    ],
)
def test_range_headers_are_parsed(bottle: Any, header: str | None, expected: Any) -> None:
    assert list(bottle.parse_range_header(header, 10)) == expected


def test_using_a_missing_name_raises_an_error_with_the_replacement() -> None:
    with pytest.raises(ImportError, match="use jinja2_template"):
        from micropie_compat.bottle import cheetah_template  # noqa: F401
    with pytest.raises(AttributeError, match="module 'bottle' has no attribute 'nonsense'"):
        ours.nonsense  # noqa: B018
    assert (ours.DEBUG, ours.NORUN) == (False, False)


def test_deeply_nested_json_raises_an_http_error() -> None:
    body = b"[" * 1100
    environ = {
        "CONTENT_TYPE": "application/json",
        "CONTENT_LENGTH": str(len(body)),
        "wsgi.input": BytesIO(body),
    }
    with pytest.raises(ours.HTTPError) as caught:
        ours.BaseRequest(environ).json  # noqa: B018
    assert caught.value.status_code == 400


# "path" is an attribute, which is unquoted elsewhere
@pytest.mark.parametrize("name", ["a", "path"])
def test_R28_a_cookie_of_escapes_takes_linear_time(name: str) -> None:
    """Unlike in CVE-2024-7592."""
    entry = calling(lambda text: ours.BaseRequest({"HTTP_COOKIE": text}).cookies["b"], times=20)
    assert not grows_too_fast(entry, f'b=1; {name}="', "\\", '"')
    assert ours.BaseRequest({"HTTP_COOKIE": 'a="1\\054\\"2"'}).cookies["a"] == '1,"2'


def test_R28_a_cookie_of_equals_signs_takes_linear_time() -> None:
    entry = calling(lambda text: ours.BaseRequest({"HTTP_COOKIE": text}).cookies["b"], times=20)
    assert not grows_too_fast(entry, "b=1; a", "=", '"')
    assert ours.BaseRequest({"HTTP_COOKIE": "a=b=c&d=e=="}).cookies["a"] == "b=c&d=e=="


@pytest.mark.parametrize("host", ["a b", "a/b", "a@b", "a, b", "a:99999"])
def test_R14_an_invalid_host_never_gets_into_a_link(make_client: MakeClient, host: str) -> None:
    app = ours.Bottle()

    @app.get("/moved")
    def moved() -> Any:
        ours.redirect("/elsewhere")

    client = make_client(app)
    header = client.get("/moved", follow_redirects=False).headers["Location"]
    assert header == "http://testserver/elsewhere"
    assert client.get("/moved", headers={"Host": host}, follow_redirects=False).status_code == 400


def test_an_application_finds_its_resource_files(bottle: Any, tmp_path: Path) -> None:
    for name in ("a/both.txt", "a/deep/one.txt", "b/both.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    resources = bottle.Bottle().resources
    assert resources.add_path("b/", f"{tmp_path}/")
    assert resources.add_path(str(tmp_path / "a/any.txt"), index=0)
    assert not resources.add_path("c/", base=str(tmp_path / "b" / "module.py"))
    assert resources.add_path("./d/", f"{tmp_path}/", create=True)
    assert resources.add_path("b/", f"{tmp_path}/")  # once more: it is the last one now
    assert [Path(each).name for each in resources.path] == ["a", "c", "d", "b"]
    with resources.open("both.txt") as first, resources.open("deep/one.txt", "rb") as deep:
        assert (first.read(), deep.read()) == ("a/both.txt", b"a/deep/one.txt")
    assert (resources.lookup("deep/one.txt"), resources.lookup("none")) == (
        str(tmp_path / "a/deep/one.txt"),
        None,
    )
    assert {*resources} == {
        str(tmp_path / name) for name in ("a/both.txt", "a/deep/one.txt", "b/both.txt")
    }
    with pytest.raises(OSError, match="'none' not found"):
        resources.open("none")


def test_an_attribute_of_an_application_can_only_be_set_once(bottle: Any) -> None:
    app = bottle.Bottle()
    app.own = 1
    with pytest.raises(AttributeError, match="own already defined"):
        app.own = 2
    del app.own
    app.own = 3


def test_header_values_may_be_bytes(bottle: Any) -> None:
    assert bottle.FileUpload(None, "a", "ümläut.txt".encode()).filename == "umlaut.txt"
    assert bottle.WSGIHeaderDict({"HTTP_A": b"foobar"})["A"] == "foobar"
    assert bottle.html_escape("'<\"") == "&#039;&lt;&quot;"
