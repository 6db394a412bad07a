"""``ServerAdapter``: starts and stops a program's own server with the bus."""

from __future__ import annotations

import time
from threading import Thread
from typing import Any

from micropie_compat.cherrypy.process.wspbus import Bus


class ServerAdapter:
    """Starts and stops ``httpserver`` with the bus. ``httpserver`` is an object with ``start``,
    ``stop`` and ``ready``, such as a cheroot server.

    The server's ``start`` runs in a separate thread. ``bind_addr``: the address to log.
    """

    interrupt: BaseException | None = None
    """The exception that has ended the server's thread, or None."""

    bind_addr: Any

    def __init__(self, bus: Bus, httpserver: Any = None, bind_addr: object = None) -> None:
        self.bus = bus
        self.httpserver = httpserver
        self.bind_addr = bind_addr

    @property
    def running(self) -> bool:
        """Whether the server is running."""
        return bool(getattr(self.httpserver, "ready", False))

    def subscribe(self) -> None:
        """Subscribe ``start`` and ``stop`` to the bus."""
        self.bus.subscribe("start", self.start)
        self.bus.subscribe("stop", self.stop)

    def unsubscribe(self) -> None:
        """Unsubscribe from the bus, for example because another server runs the application."""
        self.bus.unsubscribe("start", self.start)
        self.bus.unsubscribe("stop", self.stop)

    def start(self) -> None:
        """Start the server in a thread of this process, unless an external server runs the
        application: in CherryPy that doesn't start the bus, and each worker would take the address.

        Raises ``ValueError`` if ``httpserver`` is None, and any exception that its ``start``
        raises.
        """
        if self.bus.is_hosted:
            return
        if self.httpserver is None:
            raise ValueError("No HTTP server has been created.")
        self.interrupt = None
        Thread(target=self._serve).start()
        self.wait()
        self.bus.log(f"Serving on {self.bind_addr}")

    start.priority = 75  # type: ignore[attr-defined]

    def _serve(self) -> None:
        try:
            self.httpserver.start()
        except BaseException as error:
            self.interrupt = error
            self.bus.log("Error in HTTP server: shutting down", level=40, traceback=True)
            self.bus.exit()

    def stop(self) -> None:
        """Stop the server."""
        if self.running:
            self.httpserver.stop()
            self.bus.log(f"HTTP Server {self.bind_addr} shut down")

    stop.priority = 25  # type: ignore[attr-defined]

    def restart(self) -> None:
        """Stop the server and start it again."""
        self.stop()
        self.start()

    def wait(self) -> None:
        """Wait until the server is ready."""
        while not self.running:
            if self.interrupt:
                raise self.interrupt
            time.sleep(0.1)
