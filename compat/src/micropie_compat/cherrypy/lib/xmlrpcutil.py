"""XML-RPC: calls of the methods that the bodies of requests name, and the responses."""

from __future__ import annotations

import sys
from typing import Any, ClassVar, NoReturn
from xml.parsers.expat import ParserCreate
from xmlrpc.client import Fault, Unmarshaller, dumps

from micropie_compat.cherrypy.exposing import expose
from micropie_compat.cherrypy.serving import serving
from micropie_compat.cherrypy.types import Section


def process_body() -> tuple[tuple[Any, ...], str | None]:
    """Return the parameters and the name of the method in the request's body.

    A body that isn't XML-RPC, or that declares entities, which could make it huge, gives a method
    that doesn't exist.
    """

    def refuse(*declared: object) -> NoReturn:
        raise ValueError("XML-RPC has no entities")

    data = serving.request.body.read()
    reader, parser = Unmarshaller(), ParserCreate()
    reader.xml("", None)  # the parser decodes the text
    parser.StartElementHandler, parser.EndElementHandler = reader.start, reader.end
    parser.CharacterDataHandler, parser.EntityDeclHandler = reader.data, refuse
    try:
        parser.Parse(data, True)
        return reader.close(), reader.getmethodname()
    except Exception:
        return ("ERROR PARAMS",), "ERRORMETHOD"


def patched_path(path: str) -> str:
    """Return a path with a slash at its end and without ``/RPC2`` at its beginning."""
    path = path if path.endswith("/") else f"{path}/"
    return path[5:] if path.startswith("/RPC2/") else path


def respond(body: object, encoding: str = "utf-8", allow_none: bool = False) -> None:
    """Set the response: the result of a method, or a ``Fault``. It is in UTF-8, whatever
    ``encoding``, because the tool ``encode`` declares UTF-8.
    """
    result: Any = body if isinstance(body, Fault) else (body,)
    text = dumps(result, methodresponse=True, allow_none=allow_none)
    # Clients take another status than 200 for an error of the protocol, even with a ``Fault``.
    response = serving.response
    response.status = 200
    response.body = data = text.encode()
    response.headers["Content-Type"] = "text/xml"
    response.headers["Content-Length"] = len(data)


def on_error(*args: object, **kwargs: object) -> None:
    """Set the response for the current exception: a ``Fault``."""
    respond(Fault(1, str(sys.exc_info()[1])))


class XMLRPCController:
    """The base class of objects whose exposed methods clients call by XML-RPC."""

    _cp_config: ClassVar[Section] = {"tools.xmlrpc.on": True}

    @expose
    def default(self, *vpath: str, **params: Any) -> object:
        """Call the method that the body names, as in ``pies.bake``.

        Names with two leading underscores aren't looked up.
        """
        arguments, name = process_body()
        method: Any = self
        for part in str(name).split("."):
            method = None if part[:2] == "__" else getattr(method, part, None)
        if not getattr(method, "exposed", False):
            raise ValueError(f'method "{name}" is not supported')
        result = method(*vpath, *arguments, **params)
        options = serving.request.toolmaps["tools"].get("xmlrpc", {})
        respond(result, options.get("encoding", "utf-8"), options.get("allow_none", False))
        return serving.response.body
