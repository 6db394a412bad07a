"""pypiserver, a program on Bottle, and rdiffweb, one on CherryPy, each on its own framework and
after ``install``. Their data is in the folder that ``PROGRAM_DATA`` names.
"""

from __future__ import annotations

import logging
import os
from base64 import b64encode
from hashlib import sha1
from importlib import import_module
from pathlib import Path
from typing import Any

import micropie_compat

PASSWORD = "pie-of-apples"


def make_pypiserver() -> Any:
    packages = Path(os.environ["PROGRAM_DATA"], "packages")
    packages.mkdir(exist_ok=True)
    for name in ("first", "second"):
        (packages / f"{name}-1.0.tar.gz").write_bytes(bytes(20_000))
    return import_module("pypiserver").app(roots=[packages], disable_fallback=True)


def make_moved_pypiserver() -> Any:
    micropie_compat.install("bottle", "pypiserver.bottle_wrapper.bottle")
    return make_pypiserver()


def make_rdiffweb() -> Any:
    """Return rdiffweb on CherryPy, which logs nothing and starts in this process."""
    cherrypy = import_module("cherrypy")
    cherrypy.config.update({"environment": "embedded", "log.screen": False})
    tree = _mounted(cherrypy)
    cherrypy.server.unsubscribe()
    cherrypy.engine.start()
    return tree


def make_moved_rdiffweb() -> Any:
    micropie_compat.install("cherrypy")
    return _mounted(import_module("cherrypy"))


def _hashed(password: bytes) -> str:
    """Return a password as rdiffweb's settings have it. Its own hashes take a tenth of a second."""
    return b64encode(sha1(password + b"salt").digest() + b"salt").decode()


def _mounted(cherrypy: Any) -> Any:
    program = import_module("rdiffweb.rdw_app").RdiffwebApp
    settings = f"""
database-uri=sqlite:///{os.environ["PROGRAM_DATA"]}/data.db
environment=production
admin-password={{SSHA}}{_hashed(PASSWORD.encode())}
rate-limit=-1
latest-version-url=
"""
    cherrypy.tree.mount(program(program.parse_args(args=[], config_file_contents=settings)))
    for name in ("cherrypy.access", "cherrypy.error"):
        logging.getLogger(name).handlers.clear()
        logging.getLogger(name).setLevel(logging.CRITICAL)
    return cherrypy.tree
