"""The things a newcomer to Bottle writes first: routes, wildcards, methods, pages for errors,
files, redirects.
"""

from pathlib import Path

from bottle import Bottle, HTTPError, HTTPResponse, abort, redirect, request, response, static_file

FILES = Path(__file__).parent.parent / "files"

app = Bottle()


@app.route("/")
@app.route("/hello/<name>")
def greet(name="stranger"):
    return f"<p>Hello {name}, nice to see you.</p>"


@app.route(["/either", "/or"])
def either():
    return request.path


@app.get("/sign-in")
def form():
    return '<form action="/sign-in" method="post"><input name="user"><input name="secret" type="password"></form>'


@app.post("/sign-in")
def sign_in():
    if request.forms.get("user") == "ann" and request.forms.get("secret") == "xyz":
        return "<p>You are in.</p>"
    return "<p>No.</p>"


@app.put("/thing/<number:int>")
def put(number):
    return f"put {number} {type(number).__name__}"


@app.delete("/thing/<number:int>")
def delete(number):
    response.status = 204


@app.route("/thing/<number:int>", method=["PATCH", "LINK"])
def patch(number):
    return f"{request.method} {number}"


@app.get("/thing/<number:int>")
def show(number):
    return {"thing": number}


@app.route("/any", method="ANY")
def anything():
    return request.method


@app.get("/any")
def specific():
    return "GET itself"


@app.get("/float/<value:float>")
def decimal(value):
    return repr(value)


@app.get("/word/<word:re:[a-z]+>")
def word(word):
    return f"word {word}"


@app.get("/code/<code:re:[A-Z]{2}\\d{3}>/<rest>")
def code(code, rest):
    return f"{code} and {rest}"


@app.get("/files/<where:path>")
def anywhere(where):
    return f"path {where}"


@app.get("/between/<where:path>/end")
def between(where):
    return f"between {where}"


@app.get("/old/:name")
def old_style(name):
    return f"old {name}"


@app.get("/old/:number#[0-9]+#/x")
def old_filter(number):
    return f"old number {number}"


@app.get("/pair/<a>-<b>")
def pair(a, b):
    return f"{a}|{b}"


@app.get("/suffix/<name>.txt")
def suffix(name):
    return f"text {name}"


@app.get("/first/<name>")
def first(name):
    return f"dynamic {name}"


@app.get("/first/static")
def second():
    return "static"


@app.get("/anonymous/<:re:[0-9]+>/<name>")
def anonymous(name):
    return name


@app.get("/escaped\\:colon")
@app.get("/escaped/\\<name>")
def escaped():
    return "escaped"


@app.get("/groups/<x:re:(a|b)(c)>/<y:re:[a-z]+(?:-[a-z]+)?>")
def groups(x, y):
    return f"{x} {y}"


@app.get("/year/:#(?P<year>[0-9]+)#")
def year():
    return "year"


app.router.add_filter(
    "list", lambda conf: (r"\d+(?:,\d+)*", lambda text: text.split(","), ",".join)
)


@app.get("/list/<numbers:list>", name="numbers")
def numbers(numbers):
    return f"{numbers!r} {app.get_url('numbers', numbers=['1', '2'])}"


@app.route("/head", method="HEAD")
def head():
    return ""


@app.get("/static/<filename:path>")
def static(filename):
    return static_file(filename, root=FILES)


@app.get("/download/<filename:path>")
def download(filename):
    return static_file(filename, root=FILES, download=filename)


@app.get("/download-as")
def download_as():
    return static_file(
        "note.txt", root=FILES, download="Ünïcode name.txt" if request.query.odd else "other.txt"
    )


@app.get("/typed")
def typed():
    return static_file(
        "note.txt", root=str(FILES), mimetype="text/x-note", charset="latin-1", etag=False
    )


@app.get("/headed")
def headed():
    return static_file(
        "note.txt", root=str(FILES), headers={"X-More": "yes", "Cache-Control": "max-age=3600"}
    )


@app.get("/tagged")
def tagged():
    return static_file("data.json", root=str(FILES), etag="my-own")


@app.get("/guess/<kind>")
def guess(kind):
    return static_file(
        "note.txt", root=str(FILES), mimetype=kind.replace("_", "/") if kind != "none" else None
    )


@app.error(404)
def not_found(error):
    return f"nothing here: {error.status_code} {error.body}"


@app.error(418)
def brewed(error):
    response.headers["X-Handler"] = "1"
    return {"caught": error.body} if request.query.json else f"{error.body} {error.status_line}"


@app.error(403)
def forbidden(error):
    response.headers["X-Refused"] = "yes"
    return f"403: {error.body}"


@app.get("/restricted")
def restricted():
    abort(401, "Sorry, access denied.")


@app.get("/refused")
def refused():
    abort(403, "not you")


@app.get("/teapot")
def teapot():
    abort(418)


@app.get("/wrong")
def wrong():
    redirect("/right")


@app.get("/wrong/<code:int>")
def wrong_code(code):
    redirect("/right?a=1", code)


@app.get("/to")
def to():
    redirect(request.query.x)


@app.get("/header")
def header():
    response.set_header("X-Given", request.query.x)


@app.get("/relative/here")
def relative():
    redirect("there")


@app.get("/absolute")
def absolute():
    redirect("https://example.org/x")


@app.get("/cookie-and-redirect")
def cookie_and_redirect():
    response.set_cookie("before", "kept")
    response.set_header("X-Before", "kept")
    redirect("/right")


@app.get("/right")
def right():
    return "arrived"


@app.get("/raised")
def raised():
    raise HTTPResponse("raised", status=202, headers={"X-Raised": "1"})


@app.get("/returned")
def returned():
    return HTTPResponse(status=299, body="returned", X_Extra="2")


@app.get("/error-raised")
def error_raised():
    raise HTTPError(409, "a <conflict>")


@app.get("/error-returned")
def error_returned():
    return HTTPError(410, "gone")


@app.get("/lost")
def lost():
    response.set_header("X-Lost", "1")
    response.set_cookie("lost", "1")
    raise HTTPError(400, "lost")


@app.get("/crash")
def crash():
    raise ValueError("inside")
