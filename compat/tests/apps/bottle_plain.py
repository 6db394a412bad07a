"""A program of the module's own functions: the default application."""

import bottle
from bottle import (
    delete,
    error,
    get,
    hook,
    install,
    patch,
    post,
    put,
    request,
    response,
    route,
    run,
    url,
)

bottle.debug(False)
bottle.TEMPLATE_PATH.insert(0, __file__.rpartition("/apps/")[0] + "/views")


@route("/")
def index():
    return bottle.template("greeting", name="default", words=["application"])


@get("/item/<key>")
def read(key):
    return ITEMS.get(key) or bottle.HTTPError(404, f"no {key}")


@put("/item/<key>")
def write(key):
    ITEMS[key] = request.body.read().decode()
    response.status = 201
    return key


@post("/item")
def add():
    key = str(len(ITEMS) + 1)
    ITEMS[key] = request.forms.text
    response.headers["Location"] = url("/item/<key>", key=key)
    response.status = 201
    return key


@patch("/item/<key>")
def change(key):
    ITEMS[key] += request.body.read().decode()
    return ITEMS[key]


@delete("/item/<key>")
def remove(key):
    if key not in ITEMS:
        bottle.abort(404, "no such item")
    del ITEMS[key]
    return bottle.HTTPResponse(status=204)


@route()
def derived():
    return "from the name"


@route()
def sum__of(a, b="2"):
    return f"{a}+{b}"


ITEMS = {}


@error(404)
def lost(failure):
    return f"lost: {failure.body}"


@hook("after_request")
def mark():
    response.headers["X-Default"] = "1"


def shout(callback):
    def shouted(*args, **kwargs):
        found = callback(*args, **kwargs)
        return found + "!" if isinstance(found, str) else found

    return shouted


install(shout)

app = bottle.default_app()

if __name__ == "__main__":
    run(host="127.0.0.1", port=8080)
