"""The names of micropie's core that compatibility modules need: sites, exchanges, parsers, and
classes for responses.

``compat.bottle`` and ``compat.cherrypy`` import only these names and the names in
``micropie.extensions`` from the core. Unlike the names in ``micropie.extensions``, the names here
may change with any release (compat/CARRYING.md).
"""

from micropie._core.errors import FRAMEWORK, RaisedAnswer
from micropie._core.execution import current, slots_of
from micropie._core.files import validators_of
from micropie._core.http import (
    EncodedAnswer,
    Exchange,
    GivenStatus,
    check_size,
    checked_headers,
    redirect_response,
)
from micropie._core.http.addresses import checked_base
from micropie._core.http.csrf import deleting_cookie
from micropie._core.http.forms import Limits, MultipartParser
from micropie._core.http.headers import (
    codec_of,
    content_type,
    parse_cookies,
    select,
)
from micropie._core.mounts import RawBody, WSGICall, environ_of, kind_of_target
from micropie._core.routing import Config, MountRoute, OutsideRoute, RouteMatch, Site
from micropie._core.routing.discovery import marked_layer
from micropie._core.streams import FileRange, ThreadStream
from micropie._core.tree import Tree

FRAMEWORK.add(__name__.partition(".")[0])

__all__ = [
    "Config",
    "EncodedAnswer",
    "Exchange",
    "FileRange",
    "GivenStatus",
    "Limits",
    "MountRoute",
    "MultipartParser",
    "OutsideRoute",
    "RaisedAnswer",
    "RawBody",
    "RouteMatch",
    "Site",
    "ThreadStream",
    "Tree",
    "WSGICall",
    "check_size",
    "checked_base",
    "checked_headers",
    "codec_of",
    "content_type",
    "current",
    "deleting_cookie",
    "environ_of",
    "kind_of_target",
    "marked_layer",
    "parse_cookies",
    "redirect_response",
    "select",
    "slots_of",
    "validators_of",
]
