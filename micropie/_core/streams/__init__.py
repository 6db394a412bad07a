"""Bodies in chunks: streams, and events.

Open ``source.py`` to change how a stream begins, continues and ends, ``events.py`` for server-sent
events, ``files.py`` for files that servers send themselves, and ``threaded.py`` for sync streams on
an event loop. The drivers' halves, which send and wait, are ``asgi/streaming.py`` and
``wsgi/streaming.py``.

``stream_of`` makes a stream once of what a handler returned: a ``LoopStream``, whose chunks are
made on an event loop, or a ``ThreadStream``, whose chunks are made in a thread.

A generator may hold a cancel scope, a task group or a timeout open across ``yield``. Such a scope
nests in the scopes that its task entered before, so one task advances and closes the generator, and
no scope is entered around a later chunk alone. If the client leaves while its stream waits, the
stream is cancelled. Between two chunks it is closed instead, so that its clean-up may wait.

Under ASGI a companion works beside the request's task: it watches for the client's disconnect, and
sends the heartbeats of silent events. Its tasks cost as much as many a whole stream, so they start
when a stream has waited for a while. Under WSGI the server's thread waits for each chunk, and sends
a heartbeat if none came in time. The chunks of a sync stream are made ahead, so that one way to a
thread makes many. The thread wakes the request's task for a chunk that is waited for, so no chunk
waits for a later one, and a slow client holds a full buffer and no thread.
"""

from typing import TYPE_CHECKING

from micropie._core.on_demand import names_on_demand
from micropie._core.streams.files import FILE_CHUNK, PART_CHUNK, FileRange
from micropie._core.streams.source import (
    END,
    HEART_BEAT,
    LEFT,
    LoopStream,
    ShutdownSignal,
    Stream,
    ThreadStream,
    as_bytes,
    current_shutdown,
    is_stream,
    stream_of,
)

if TYPE_CHECKING:
    from micropie._core.streams.events import EventStream, event, follow_events
    from micropie._core.streams.threaded import MadeAhead

# fmt: off
__all__ = [
    "END", "FILE_CHUNK", "HEART_BEAT", "LEFT", "PART_CHUNK", "EventStream", "FileRange",
    "LoopStream", "MadeAhead", "ShutdownSignal", "Stream", "ThreadStream", "as_bytes",
    "current_shutdown", "event", "follow_events", "is_stream", "stream_of",
]
# fmt: on

__getattr__, __dir__ = names_on_demand(
    __name__, {"events": "EventStream event follow_events", "threaded": "MadeAhead"}
)
