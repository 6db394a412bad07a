"""What a request brings: query, forms, files, JSON, bodies, headers, cookies."""

from datetime import timedelta

from bottle import Bottle, FormsDict, parse_auth, request, response

app = Bottle()
SECRET = "a secret of this test"


def listed(pairs):
    return "\n".join(f"{key}={value}" for key, value in pairs)


@app.get("/query")
def query():
    found = request.query
    response.content_type = "text/plain; charset=UTF-8"
    return f"{found.name}|{found.getall('name')!r}|{found.get('n', 7, type=int)!r}|{found.missing!r}|{found.get('missing')!r}"


@app.get("/query-all")
def query_all():
    response.content_type = "text/plain; charset=UTF-8"
    return listed(sorted(request.query.decode().allitems()))


@app.get("/query-item")
def query_item():
    return request.query["name"]


@app.get("/query-string")
def query_string():
    return request.query_string


@app.post("/form")
def form():
    response.content_type = "text/plain; charset=UTF-8"
    return f"{request.forms.name}|{request.forms.getunicode('name')}|{len(request.forms)}|{request.forms.missing!r}"


@app.post("/form-raw")
def form_raw():
    response.content_type = "text/plain; charset=UTF-8"
    return request.forms.get("name") or "none"


@app.post("/form-all")
def form_all():
    response.content_type = "text/plain; charset=UTF-8"
    return listed(sorted(request.forms.decode().allitems()))


@app.route("/params", method=["GET", "POST"])
def params():
    response.content_type = "text/plain; charset=UTF-8"
    return listed(sorted(request.params.decode().allitems()))


@app.post("/number")
def number():
    return repr(request.forms.get("n", default=-1, type=int))


@app.post("/upload")
def upload():
    response.content_type = "text/plain; charset=UTF-8"
    found = request.files.get("file")
    if found is None:
        return "no file"
    data = found.file.read()
    return f"{found.name}|{found.filename}|{found.raw_filename}|{found.content_type}|{len(data)}|{data[:20]!r}|{request.forms.note}"


@app.post("/uploads")
def uploads():
    response.content_type = "text/plain; charset=UTF-8"
    return listed(
        (part.raw_filename, part.file.read().decode()) for part in request.files.getall("file")
    )


@app.post("/post")
def post():
    response.content_type = "text/plain; charset=UTF-8"
    return listed(sorted((key, type(value).__name__) for key, value in request.POST.allitems()))


@app.route("/json", method=["POST", "PUT"])
def json():
    return {"got": request.json}


@app.post("/body")
def body():
    first = request.body.read()
    request.body.seek(0)
    again = request.body.read()
    return f"{len(first)} {first == again} {request.content_length} {request.content_type} {request.chunked}"


@app.get("/headers")
def headers():
    response.content_type = "text/plain; charset=UTF-8"
    found = request.headers
    return f"{found.get('X-Token')}|{found['x-token'] if 'X-TOKEN' in found else ''}|{request.get_header('x-other', 'none')}"


@app.get("/header-missing")
def header_missing():
    return request.headers["X-Not-There"]


@app.route("/about/<rest:path>", method=["GET", "POST", "HEAD"])
def about(rest):
    response.content_type = "text/plain; charset=UTF-8"
    return listed(
        [
            ("method", request.method),
            ("path", request.path),
            ("fullpath", request.fullpath),
            ("url", request.url),
            ("script_name", request.script_name),
            ("urlparts", tuple(request.urlparts)),
            ("query_string", request.query_string),
            ("is_ajax", request.is_ajax),
            ("is_xhr", request.is_xhr),
            ("remote_addr", request.remote_addr),
            ("remote_route", request.remote_route),
            ("auth", request.auth),
            ("length", request.content_length),
            ("rule", request.route.rule),
            ("args", request.url_args),
            ("app", request.app is app),
            ("environ", request.environ["PATH_INFO"]),
            ("item", request["REQUEST_METHOD"]),
        ]
    )


@app.get("/attributes")
def attributes():
    request.user = "ann"
    return f"{request.user} {hasattr(request, 'nobody')} {request.environ.get('none')}"


@app.get("/attribute-twice")
def attribute_twice():
    request.user = "ann"
    try:
        request.user = "bob"
    except AttributeError:
        return "only once"
    return request.user


@app.get("/set")
def set_cookies():
    response.set_cookie("plain", "value")
    response.set_cookie(
        "dressed",
        "v w",
        path="/",
        max_age=60,
        httponly=True,
        secure=True,
        samesite="lax",
        domain="example.org",
    )
    response.set_cookie("session", "abc", path="/")
    return "set"


@app.get("/cookies")
def cookies():
    response.content_type = "text/plain; charset=UTF-8"
    return f"{request.get_cookie('plain')}|{request.cookies.session}|{request.get_cookie('none', 'default')}|{sorted(request.cookies)}"


@app.get("/drop")
def drop():
    response.delete_cookie("plain")
    response.delete_cookie("session", path="/")
    return "dropped"


@app.get("/expiring")
def expiring():
    response.set_cookie("until", "x", expires=86400 * 365)
    response.set_cookie("old", "a b;c", max_age=timedelta(days=2), expires=0, secure=False)
    return "x"


@app.get("/sign")
def sign():
    response.set_cookie(
        "account",
        {"name": request.query.name or "ann", "n": [1, 2]} if request.query.odd else "ann",
        secret=SECRET,
    )
    return "signed"


@app.get("/signed")
def signed():
    return repr(request.get_cookie("account", "nobody", secret=SECRET))


@app.get("/signed-wrong")
def signed_wrong():
    return repr(request.get_cookie("account", "nobody", secret="another"))


@app.get("/cookie-of-number")
def cookie_of_number():
    response.set_cookie("n", 5)
    return "never"


@app.get("/cookie-too-long")
def cookie_too_long():
    response.set_cookie("n", "x" * 5000)
    return "never"


@app.get("/auth")
def auth():
    return repr(parse_auth(request.get_header("Authorization", "")))


@app.get("/dict")
def dictionary():
    made = FormsDict(a="1")
    made.append("a", "2")
    return f"{made.a} {made.getall('a')} {made.getone('a') if hasattr(made, 'getone') else made.get('a')} {made.get('b', 'x')} {made.b!r}"
