"""How and where a call runs: steps, the current context, threads, event loops. This package knows no HTTP.

``steps.py`` has the kinds of steps and ``placement.py`` the places where a handler may run. Under ASGI, ``def``
handlers run in worker threads (``threads.py``) with their own limiter, so that they can't starve file access and
session backends. Such a thread knows the event loop that it works for, so ``run_async`` can call it. Under WSGI,
``async def`` runs on one event loop for each process and backend (``portal.py``), in a thread that the first use
starts. Start-up handlers and ``lifespan`` run on the same loop, in one task from beginning to end, so a connection
pool that they open serves async handlers.

The current request is a context variable. Threads and the portal get a copy of the context, and the variables that a
step sets come back with its outcome (``outcomes.py``): a handler sees a hook's variables wherever the two run.

Nothing that owns a thread, a socket or a file is made at import or in ``__init__``, because servers fork after
import. A forked child forgets what its parent owned and makes its own (``fork.py``). ``ShutdownSignal``
(``shutdown.py``) knows the open streams and subscriptions of an application and ends them at the shut-down.
"""
