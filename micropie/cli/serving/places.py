"""Check the address that a server will listen on, so that a problem is reported in one sentence
instead of the server's traceback.
"""

from __future__ import annotations

import errno
import os
import socket
from dataclasses import replace
from pathlib import Path

from micropie.cli.serving.options import Options, ServingError
from micropie.cli.serving.reloading import CHILD_PORT


def checked_place(options: Options) -> Options:
    """Return the options, with port 0 replaced by a free port. Raises ``ServingError`` if no server
    can listen on the address.
    """
    if options.uds is not None:
        _check_file(options.uds)
    elif options.fd is not None:
        _check_descriptor(options.fd)
    else:
        options = replace(options, port=_free_port(options))
    return options


def _free_port(options: Options) -> int:
    port = int(os.environ.get(CHILD_PORT, options.port))
    try:
        # Set SO_REUSEADDR, as servers do.
        with socket.socket(options.family) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((options.host, port))
            return int(probe.getsockname()[1])
    except OSError as error:
        other = "port" if error.errno in (errno.EADDRINUSE, errno.EACCES) else "host"
        raise _refusal(f"{options.host}:{port}", error, f"choose another {other}") from None


def _check_file(path: str) -> None:
    """Raise ``ServingError`` if no socket can be created at this path. Remove a socket that an
    exited server has left there, because not every server does this at startup.
    """
    file = Path(path)
    try:
        with socket.socket(socket.AF_UNIX) as probe:
            if file.is_socket():
                if probe.connect_ex(path) != errno.ECONNREFUSED:
                    raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))
                file.unlink()
        with socket.socket(socket.AF_UNIX) as probe:
            probe.bind(path)
        file.unlink()
    except OSError as error:
        raise _refusal(path, error, "choose another path") from None


def _check_descriptor(number: int) -> None:
    try:
        with socket.socket(fileno=os.dup(number)) as passed:
            if not passed.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
                raise OSError(errno.EINVAL, "it is not a listening socket")
    except OSError as error:
        advice = "pass a listening socket; the first socket from systemd is descriptor 3"
        raise _refusal(f"the descriptor {number}", error, advice) from None


def _refusal(place: str, error: OSError, advice: str) -> ServingError:
    return ServingError(f"can't listen on {place} ({error.strerror or error}): {advice}")
