"""Mount a WSGI application at a path prefix in a ``Bottle``."""

from __future__ import annotations

from micropie_compat.bottle.requests import request
from micropie_compat.bottle.responses import HTTPResponse
from micropie_compat.bottle.state import MOUNTED, current_exchange
from micropie_compat.core import WSGICall
from micropie_compat.results import AnyFunction


def wsgi_mount(add: AnyFunction, prefix: str, target: object, options: dict[str, object]) -> None:
    """Add routes that pass all requests for ``prefix``, and for the paths under it, to the WSGI
    application ``target``.

    ``add``: the function that registers a route.
    ``options``: more arguments for ``add``.
    """
    segments = [segment for segment in prefix.split("/") if segment]
    if not segments:
        raise ValueError("WSGI applications cannot be mounted to '/'.")
    root = "/" + "/".join(segments)
    settings = {
        "skip": True,
        "method": "PROXY",
        "mountpoint": {"prefix": prefix, "target": target},
        "callback": lambda: _answer_of(target, root),
        **options,
    }
    add(f"{root}/<:re:.*>", **settings)
    if not prefix.endswith("/"):
        add(root, **settings)


def _answer_of(target: object, root: str) -> HTTPResponse:
    call, depth = WSGICall(target, root, current_exchange().native.log_failure), root.count("/")
    request.path_shift(depth)
    environ = {
        **request.environ,
        "PATH_INFO": request.environ["PATH_INFO"].encode().decode("latin-1"),
        MOUNTED: True,
    }
    try:
        call.begin(environ)
        # Fetch the first chunk now, because some applications don't call start_response before
        # that.
        call.written.insert(0, call.next())
        answer = call.response(None)
        is_complete = call.is_complete
    except BaseException:
        call.close()
        raise
    finally:
        request.path_shift(-depth)
        outer = request.environ
        outer.update((key, environ[key]) for key in environ.keys() - outer.keys() - {MOUNTED})
    status = f"{int(answer.status)} {answer.status.reason or 'Unknown'}"  # type: ignore[attr-defined]
    headers = [
        (name, value.encode("latin-1").decode("utf-8", "replace")) for name, value in answer.pairs
    ]
    body: object = call
    if is_complete:
        body = b"".join(call)
        call.close()
    return HTTPResponse(body, status.encode("latin-1").decode(), headers)
