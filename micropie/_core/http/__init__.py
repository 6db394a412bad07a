"""HTTP requests and responses, with their headers, bodies and sessions.

Open ``response.py`` to change how a handler's result becomes a status, headers and a body. The
other files:

- ``request.py``: the public API of a request
- ``exchange.py``: the framework's internal state of a request
- ``peer.py``: the client, the scheme and the host, as a proxy states them
- ``settings.py``: the settings of an ``App``
- ``answer.py``: the response while it is being built
- ``problem.py``: the text and the format of error responses; ``flow/errors.py`` merges their
  headers
- ``binding_errors.py``: the errors of invalid values
- ``multidict.py``: the values of forms and queries
- ``json.py``: JSON
- ``session.py``: sessions
- ``flashes.py``: flashed messages
- ``pagination.py``: ``Page``
- ``websockets.py``: the rules of WebSockets
- ``csrf.py``: CSRF tokens
- ``addresses.py``: paths, hosts and origins
- ``escaping.py``: escaped HTML
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from micropie._core.http.answer import AnswerState
from micropie._core.http.binding_errors import BindingError, BindingErrors, ParameterError
from micropie._core.http.body.reader import BodyReader
from micropie._core.http.body.received import NULL, ReceivedBody
from micropie._core.http.body.receiving import AHEAD, find_field, receive_body
from micropie._core.http.exchange import Exchange, MessageConfig, RouteInfo
from micropie._core.http.flashes import flash, get_flashed_messages
from micropie._core.http.multidict import MultiDict
from micropie._core.http.peer import Address, Peer, ProxyWatch
from micropie._core.http.problem import encoded_error, error_answer, translated
from micropie._core.http.request import Request, bound_request, current_request
from micropie._core.http.response import (
    BODIES,
    HTML,
    JSON,
    NO_OTHER_HEADERS,
    NOSNIFF,
    TEXT,
    TOKEN,
    Answer,
    EncodedAnswer,
    FileOptions,
    FileReference,
    GivenStatus,
    Response,
    as_response,
    check_value,
    checked_headers,
    encode,
    encode_body,
    error_response,
    joined,
    reads_file,
    redirect_response,
    sent_as,
    start_failed,
    states_status,
    status_line,
    with_html,
)
from micropie._core.http.session import (
    CSRF_FIELD,
    Changes,
    Session,
    SessionData,
    check_size,
    copied,
)
from micropie._core.http.state import State
from micropie._core.on_demand import names_on_demand

if TYPE_CHECKING:
    from micropie._core.http.pagination import Page

# This module is imported on first use, because many sites don't need it.
__getattr__, __dir__ = names_on_demand(
    __name__,
    {
        "pagination": "Page",
    },
)
