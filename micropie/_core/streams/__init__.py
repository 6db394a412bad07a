"""Streams, which are bodies sent in chunks, and server-sent events.

Open ``source.py`` to change how a stream begins, continues and ends. The other files:

- ``events.py``: server-sent events
- ``files.py``: files that servers send themselves
- ``threaded.py``: sync streams on an event loop

``asgi/streaming.py`` and ``wsgi/streaming.py`` wait for the chunks and send them.

``stream_of`` returns the stream for a handler's result: a ``LoopStream``, whose chunks are made on
an event loop, or a ``ThreadStream``, whose chunks are made in a thread.

A generator may keep a cancel scope, a task group or a timeout open across ``yield``. Such a scope
must be exited in the task that entered it, and before the scopes that enclose it. So a single task
advances and closes the generator, and after the first chunk this task never enters a scope around a
single chunk. If the client disconnects while the stream waits for an item, the stream is cancelled.
If the client disconnects between two chunks, the stream is closed instead: its clean-up may have to
wait, which isn't possible in a cancelled scope.

Under ASGI, two more tasks may run beside the request's task: one notices if the client disconnects,
the other sends heartbeats while an event stream is silent. Starting them takes as long as sending a
whole short stream, so they are started only after a stream has waited for a while. Under WSGI, the
server's thread waits for each chunk, and sends a heartbeat if no chunk comes in time.

On an event loop, a worker thread makes the chunks of a sync stream, several at a time, because
switching to the thread takes longer than making a chunk. If the request's task is waiting for a
chunk, the thread wakes it as soon as the chunk is ready. So no chunk is delayed by a later one. A
slow client fills a buffer but doesn't block a thread.
"""

from typing import TYPE_CHECKING

from micropie._core.on_demand import names_on_demand
from micropie._core.streams.files import FILE_CHUNK, PART_CHUNK, FileRange
from micropie._core.streams.source import (
    BYTES_AHEAD,
    CHUNKS_AHEAD,
    CHUNKS_PER_CHECK,
    END,
    HEART_BEAT,
    JOINED,
    LEFT,
    PENDING,
    AnyStream,
    LoopStream,
    ShutdownSignal,
    Stream,
    ThreadStream,
    as_bytes,
    current_shutdown,
    joined,
    not_an_end,
    startup_shutdown,
    stream_of,
    stream_shutdown,
)

if TYPE_CHECKING:
    from micropie._core.streams.events import EventStream, event, follow_events, taken_apart
    from micropie._core.streams.threaded import EventsFromThread, MadeAhead

__getattr__, __dir__ = names_on_demand(
    __name__,
    {
        "events": "EventStream event follow_events taken_apart",
        "threaded": "EventsFromThread MadeAhead",
    },
)
