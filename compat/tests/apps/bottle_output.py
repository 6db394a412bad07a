"""What a handler may give back, and what it can say about its answer."""

import io
from pathlib import Path

from bottle import Bottle, HTTPError, HTTPResponse, LocalResponse, abort, request, response

FILES = Path(__file__).parent.parent / "files"

app = Bottle()
VALUES = {
    "text": "text é",
    "bytes": b"\x00\xff bytes",
    "none": None,
    "empty": "",
    "false": False,
    "list-empty": [],
    "list": ["a", "b", "é"],
    "list-bytes": [b"a", b"b"],
    "tuple": ("x", "y"),
    "dict": {"b": 1, "a": ["x", None, True, 1.5], "text": "é"},
    "dict-empty": {},
    "dicts": [{"a": 1}],
    "number": 5,
    "true": True,
    "object": object,
}


@app.get("/value/<name>")
def value(name):
    return VALUES[name]


@app.get("/file")
def file():
    return io.BytesIO(b"content of a file")


@app.get("/open-file")
def open_file():
    return (FILES / "note.txt").open("rb")


@app.get("/generated")
def generated():
    yield "one "
    yield "two "
    yield "three é"


@app.get("/generated-bytes")
def generated_bytes():
    yield b"one "
    yield b""
    yield b"two"


@app.get("/generated-empty")
def generated_empty():
    yield ""
    yield ""
    yield "late"


@app.get("/generated-nothing")
def generated_nothing():
    if request.query.never:
        yield "never"


@app.get("/generated-header")
def generated_header():
    response.set_header("X-Early", "1")
    response.status = 203
    yield "x"
    yield request.path


@app.get("/generated-abort")
def generated_abort():
    abort(409, "before the first part")
    yield "never"


@app.get("/generated-response")
def generated_response():
    yield HTTPResponse("instead", status=202)


@app.get("/generated-crash")
def generated_crash():
    if not request.query.never:
        raise KeyError("early")
    yield "never"


@app.get("/generated-number")
def generated_number():
    yield 5


@app.get("/iterator")
def iterator():
    return iter(["a", "b"])


@app.get("/map")
def mapped():
    return map(str, range(5))


@app.get("/status/<code:int>")
def status(code):
    response.status = code
    return f"status {code}"


@app.get("/status-line")
def status_line():
    response.status = "299 My own"
    return f"{response.status_code} {response.status_line} {response.status}"


@app.get("/status-unknown")
def status_unknown():
    response.status = 577
    return "x"


@app.get("/status-wrong")
def status_wrong():
    response.status = 9999
    return "x"


@app.get("/headers")
def headers():
    response.set_header("X-One", "1")
    response.add_header("X-Many", "a")
    response.add_header("X-Many", "b")
    response.headers["x-lower_case"] = "L"
    response.headers["X-Number"] = 17
    return f"{response.get_header('x-one')} {response.headers['X-Lower-Case']} {'X-None' in response.headers}"


@app.get("/header-replaced")
def header_replaced():
    response.add_header("X-Many", "a")
    response.add_header("X-Many", "b")
    response.set_header("X-Many", "c")
    return "x"


@app.get("/header-deleted")
def header_deleted():
    response.set_header("X-Gone", "a")
    del response.headers["X-Gone"]
    return str(response.headers.get("X-Gone", "gone"))


@app.get("/header-split")
def header_split():
    response.set_header("X-Evil", "a\r\nX-Injected: 1")
    return "never"


@app.get("/header-unicode")
def header_unicode():
    response.set_header("X-Word", "é")
    return "x"


@app.get("/content-type")
def content_type():
    response.content_type = "text/plain"
    return f"{response.content_type} {response.charset}"


@app.get("/charset")
def charset():
    response.content_type = "text/html; charset=latin-1"
    return f"{response.charset} é"


@app.get("/json-type")
def json_type():
    response.content_type = "application/vnd.thing+json"
    return {"own": "type"}


@app.get("/length")
def length():
    response.content_length = 3
    return "abc"


@app.get("/expires")
def expires():
    response.expires = 0
    return repr(response.expires)


@app.get("/no-content")
def no_content():
    response.status = 204
    response.content_type = "text/plain"
    return ""


@app.get("/not-modified")
def not_modified():
    response.status = 304
    response.set_header("ETag", '"x"')
    response.set_header("Content-Type", "text/plain")
    return "dropped"


@app.get("/iso")
def iso():
    return HTTPResponse("é".encode("latin-1"), content_type="text/plain; charset=latin-1")


@app.get("/response-headers")
def response_headers():
    answer = HTTPResponse(body="x", status="201 Made", headers={"X-A": "1"})
    answer.add_header("X-A", "2")
    answer.set_cookie("own", "1")
    return answer


@app.get("/response-status/<code:int>")
def response_status(code):
    return HTTPResponse("body", code, {"X-A": "b"}, X_More="c")


@app.get("/response-status-line")
def response_status_line():
    return HTTPResponse("", "404 Brain not found")


@app.get("/response-merged")
def response_merged():
    response.set_header("X-Outer", "1")
    response.set_cookie("outer", "1")
    return HTTPResponse("x", X_Inner="2")


@app.get("/response-of-list")
def response_of_list():
    return HTTPResponse(["a", "b"])


@app.get("/response-of-dict")
def response_of_dict():
    return HTTPResponse({"a": 1})


@app.get("/error-with-headers")
def error_with_headers():
    raise HTTPError(429, "slow down", Retry_After="5")


@app.get("/error-text")
def error_text():
    raise HTTPError(500, "a <b>bold</b> & 'quoted' é text")


@app.get("/error-of-exception")
def error_of_exception():
    try:
        return 1 // 0
    except ZeroDivisionError as error:
        raise HTTPError(502, "divided", exception=error) from None


@app.get("/copied")
def copied():
    response.set_header("X-Copied", "1")
    made = response.copy(cls=HTTPResponse)
    made.body = "copied"
    return made


@app.get("/kind")
def kind():
    return f"{isinstance(response, LocalResponse)} {response.status_code}"


@app.get("/nested")
def nested():
    return HTTPResponse(HTTPResponse("inner", status=201), status=202)
