"""HTTP's vocabulary and its messages: headers, cookies, media types, JSON, forms, requests,
responses.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from micropie.errors import HeadersLike
from micropie.http.answer import AnswerState
from micropie.http.binding_errors import BindingError, BindingErrors, ParameterError
from micropie.http.body import Body
from micropie.http.cookies import (
    MAX_COOKIE,
    PREFIXES,
    format_cookie,
    is_cookie_name,
    parse_cookies,
    without_prefix,
)
from micropie.http.escaping import escape, html, in_chunks, is_html
from micropie.http.exchange import (
    FORM,
    Address,
    Exchange,
    MessageConfig,
    MessageSettings,
    Peer,
    RouteInfo,
)
from micropie.http.flashes import flash, get_flashed_messages
from micropie.http.forms import Limits, UploadFile
from micropie.http.forms.data import DEFAULT_LIMITS, Nested, nested, rows
from micropie.http.forms.receiving import AHEAD, find_field, receive_body
from micropie.http.forms.uploads import CHUNK, MAX_FILENAME
from micropie.http.headers import (
    LONGEST_KEPT,
    HeaderNames,
    Headers,
    KnownHeader,
    MutableHeaders,
    NameTable,
    add_missing,
    add_vary,
    cached_if_short,
    make_private,
)
from micropie.http.json import BUILTINS, dumps, dumps_with, encoder_of, loads
from micropie.http.media_types import codec_of, content_type
from micropie.http.multidict import MultiDict
from micropie.http.problem import (
    error_answer,
    problem_members,
    translated,
    wanted_form,
)
from micropie.http.received import NULL, ReceivedBody
from micropie.http.request import Request, bound_request, current_request
from micropie.http.response import (
    BODIES,
    HTML,
    JSON,
    NO_OTHER_HEADERS,
    NOSNIFF,
    TEXT,
    TOKEN,
    Answer,
    EncodedAnswer,
    FileReference,
    GivenStatus,
    Response,
    as_browsers_read,
    as_response,
    check_value,
    checked_headers,
    encode,
    encode_body,
    error_response,
    redirect_response,
    start_failed,
    states_status,
    status_line,
    with_html,
)
from micropie.http.session import CSRF_FIELD, Changes, Session, SessionData, check_size, copied
from micropie.http.state import State
from micropie.http.types import (
    ChunkedBody,
    Encoder,
    Environ,
    HeaderPairs,
    Message,
    Parameters,
    Piece,
    Receive,
    Scope,
    Send,
    StartResponse,
)
from micropie.http.urls import (
    DOTS_AND_EMPTY,
    PAGE_SCHEMES,
    HostTable,
    checked_base,
    checked_origins,
    escaped_path,
    is_base_url,
    leads_up,
    normal_host,
    normal_hosts,
    normal_origin,
    quoted_address,
    raw_path_below,
    split_host,
    with_host,
)
from micropie.on_demand import names_on_demand

if TYPE_CHECKING:
    from micropie.http.conditional import CONDITIONS, Selection, accepts_coding, http_date, select
    from micropie.http.forms.multipart import MultipartParser
    from micropie.http.pagination import Page
    from micropie.http.signing import CookieSigner, Secret, Signer

# fmt: off
__all__ = [
    "AHEAD", "BODIES", "BUILTINS", "CHUNK", "CONDITIONS", "CSRF_FIELD", "DEFAULT_LIMITS",
    "DOTS_AND_EMPTY", "FORM", "HTML", "JSON", "LONGEST_KEPT", "MAX_COOKIE", "MAX_FILENAME",
    "NOSNIFF", "NO_OTHER_HEADERS", "NULL", "PAGE_SCHEMES", "PREFIXES",
    "TEXT", "TOKEN", "Address", "Answer", "AnswerState", "BindingError", "BindingErrors", "Body",
    "Changes", "ChunkedBody", "CookieSigner", "EncodedAnswer", "Encoder", "Environ", "Exchange",
    "FileReference", "GivenStatus", "HeaderNames", "HeaderPairs", "Headers", "HeadersLike",
    "HostTable", "KnownHeader", "Limits", "Message", "MessageConfig", "MessageSettings",
    "MultiDict", "MultipartParser", "MutableHeaders", "NameTable", "Nested", "Page",
    "ParameterError", "Parameters", "Peer", "Piece", "Receive", "ReceivedBody", "Request",
    "Response", "RouteInfo", "Scope", "Secret", "Selection", "Send", "Session", "SessionData",
    "Signer", "StartResponse", "State", "UploadFile", "accepts_coding", "add_missing", "add_vary",
    "as_browsers_read", "as_response", "bound_request", "cached_if_short", "check_size",
    "check_value", "checked_base", "checked_headers", "checked_origins", "codec_of", "content_type",
    "copied", "current_request", "dumps", "dumps_with", "encode", "encode_body", "encoder_of",
    "error_answer", "error_response", "escape", "escaped_path", "find_field", "flash",
    "format_cookie", "get_flashed_messages", "html", "http_date", "in_chunks", "is_base_url",
    "is_cookie_name", "is_html", "leads_up", "loads", "make_private", "nested",
    "normal_host", "normal_hosts", "normal_origin", "parse_cookies", "problem_members",
    "quoted_address", "raw_path_below", "receive_body", "redirect_response", "rows", "select",
    "split_host", "start_failed", "states_status", "status_line", "translated", "wanted_form",
    "with_host", "with_html", "without_prefix",
]
# fmt: on

# What a site does not use is not imported: it would take longer than the rest.
__getattr__ = names_on_demand(
    __name__,
    {
        "conditional": "CONDITIONS Selection accepts_coding http_date select",
        "forms.multipart": "MultipartParser",
        "pagination": "Page",
        "signing": "CookieSigner Secret Signer",
    },
)
