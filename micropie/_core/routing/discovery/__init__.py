"""Find the handlers, explicit paths and providers of an application, and the marks (attributes)
that decorators have stored on its functions.

Open ``marks.py`` to change which attributes of an application are handlers, and which marks
decorators store on them. The other files:

- ``patterns.py``: wildcards for explicit paths (a new one goes into ``_KINDS`` here and in
  ``openapi/document.py``)
- ``providers.py``: how resources are opened (``open_resources``)
- ``checks.py``: ``@requires``, and middleware above handlers
"""

from __future__ import annotations

from micropie._core.binding import is_provider, type_name
from micropie._core.execution.placement import AnyFunction
from micropie._core.routing.discovery.checks import (
    HOLDS,
    Check,
    Checking,
    check_middlewares,
    mark_with,
    marked_layer,
    marks_above,
    marks_above_handler,
    refuse_unless_check,
)
from micropie._core.routing.discovery.marks import (
    FINGERPRINT,
    MARKS,
    REQUIRES,
    SOCKET_PREFIX,
    Function,
    Handler,
    RouteMark,
    attributes_of,
    find_handlers,
    is_bare,
    is_function,
    is_hidden,
    is_method,
    leave_mark,
    marks_of,
    own_attributes,
    public_name,
    wrapped_by,
)
from micropie._core.routing.discovery.patterns import Match, Pattern, match_text
from micropie._core.routing.discovery.providers import (
    Provider,
    Providers,
    check_key,
    check_provider,
    open_resources,
    provider_of,
)
