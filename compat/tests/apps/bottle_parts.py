"""An application in parts: hooks, plugins, mounted and merged applications, URLs of routes, a
login.
"""

import functools
import inspect

from bottle import Bottle, HTTPResponse, auth_basic, local, redirect, request, response

app = Bottle()
app.config["greeting"] = "hello"
app.config.update("db", name="main", size=5)


class Counter:
    """A plugin with a name, which wraps every callback that does not skip it."""

    name = "counter"
    api = 2

    def __init__(self):
        self.seen = []

    def setup(self, app):
        self.seen.append("setup")

    def apply(self, callback, route):
        @functools.wraps(callback)
        def counted(*args, **kwargs):
            response.add_header("X-Plugin", f"counter of {route.rule}")
            return callback(*args, **kwargs)

        return counted

    def close(self):
        self.seen.append("closed")


class Store:
    """A plugin that gives a keyword argument to those callbacks that ask for it."""

    name = "store"
    api = 2

    def apply(self, callback, route):
        keyword = route.config.get("store.keyword", "store")
        if keyword not in inspect.signature(route.callback).parameters:
            return callback

        @functools.wraps(callback)
        def stored(*args, **kwargs):
            return callback(*args, **{**kwargs, keyword: {"kept": 1}})

        return stored


def plain_plugin(callback):
    @functools.wraps(callback)
    def plain(*args, **kwargs):
        response.add_header("X-Plugin", "plain")
        return callback(*args, **kwargs)

    return plain


def loud(callback):
    @functools.wraps(callback)
    def louder(*args, **kwargs):
        found = callback(*args, **kwargs)
        return found.upper() if isinstance(found, str) else found

    return louder


app.install(Counter())
app.install(Store())
app.install(plain_plugin)


@app.hook("before_request")
def strip_slash():
    if request.path.startswith("/slashed"):
        request.environ["PATH_INFO"] = request.environ["PATH_INFO"].rstrip("/")


@app.hook("before_request")
def stop():
    local.note = "noted"
    if request.query.stop:
        raise HTTPResponse("stopped by a hook", status=403)


@app.hook("after_request")
def mark():
    response.headers["X-After"] = "first"
    response.add_header("X-Order", "1")


@app.hook("after_request")
def mark_again():
    response.add_header("X-Order", "2")
    if request.query.late:
        raise HTTPResponse("late", 202)


@app.get("/plugged")
def plugged():
    return "plugged"


@app.get("/skipped", skip=["counter"])
def skipped():
    return "skipped"


@app.get("/skipped-all", skip=True)
def skipped_all():
    return "skipped all"


@app.get("/skipped-one", skip=[plain_plugin])
def skipped_one():
    return "skipped one"


@app.get("/skipped-type", skip=[Counter])
def skipped_type():
    return "skipped a type"


@app.get("/stored")
def stored(store):
    return store


@app.get("/stored-other", **{"store.keyword": "box"})
def stored_other(box):
    return box


@app.get("/applied", apply=loud)
def applied():
    return "applied"


@app.get("/applied-many", apply=[loud, plain_plugin], skip=["counter"])
def applied_many():
    return "many"


@app.get("/slashed")
def slashed():
    return request.path


@app.get("/noted")
def noted():
    return local.note


@app.get("/crash")
def crash():
    raise RuntimeError("inside")


@app.get("/named/<number:int>/<rest:path>", name="named")
def named(number, rest):
    return app.get_url("named", number=number + 1, rest=rest)


@app.get("/urls")
def urls():
    return " ".join(
        [
            app.get_url("named", number=3, rest="a b"),
            app.get_url("/plugged"),
            app.get_url("/plugged", q="x y"),
        ]
    )


@app.get("/url-missing")
def url_missing():
    return app.get_url("named")


@app.get("/config")
def config():
    return f"{app.config['greeting']} {app.config['db.name']} {app.config.get('db.size')} {app.config.get('none', 'x')}"


@app.get("/routes")
def routes():
    return " ".join(route.rule for route in app.routes[:3])


@app.get("/private")
@auth_basic(lambda user, password: (user, password) == ("ann", "pä:ss"), realm="here")
def private():
    return f"welcome {request.auth[0]}"


@app.get("/private-default")
@auth_basic(lambda user, password: user == "ann")
def private_default():
    return "in"


@app.error(404)
def lost(error):
    return f"outer 404 {request.path}"


@app.error(500)
def failed(error):
    return f"outer 500 {type(error.exception).__name__}"


@app.error(405)
def method(error):
    return "outer 405"


# Another Bottle below a prefix: its routes are copied.
inner = Bottle()


@inner.get("/")
def inner_index():
    return f"inner {request.path} {request.script_name}"


@inner.get("/page/<name>")
def inner_page(name):
    return f"inner page {name} {request.path}"


@inner.get("/fail")
def inner_fail():
    raise RuntimeError("in the inner one")


@inner.error(404)
def inner_lost(error):
    return "inner 404"


@inner.hook("before_request")
def inner_hook():
    response.set_header("X-Inner", "1")


app.mount("/inner/", inner)


def foreign(environ, start_response):
    body = f"{environ['REQUEST_METHOD']} {environ['SCRIPT_NAME']} {environ['PATH_INFO']} {environ['QUERY_STRING']}"
    start_response(
        "201 Made", [("Content-Type", "text/plain"), ("X-Foreign", "1"), ("X-Foreign", "2")]
    )
    sent = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
    return [body.encode("latin-1"), b" from WSGI ", sent]


app.mount("/foreign/", foreign)

merged = Bottle()


@merged.get("/merged")
def merged_page():
    return "merged"


@merged.post("/plugged")
def merged_post():
    return "merged post"


app.merge(merged)


def added():
    return "added by a call"


app.route("/added", "GET", added)
app.route("/added", ["POST", "PUT"], callback=lambda: request.method)


@app.get("/leave")
def leave():
    redirect(app.get_url("/plugged"))
