"""rdiffweb, a site for backups that is written on CherryPy, with our module instead of
CherryPy.

It brings tools, plugins, a dispatcher, a toolbox and a storage of sessions of its own.
"""

from __future__ import annotations

import hashlib
import logging
import os
from base64 import b64encode
from typing import Any

from micropie_compat import install

install("cherrypy")


def hashed(password: str) -> str:
    """Return a password as the settings of rdiffweb have it; its own hashes take a tenth of a
    second each.
    """
    return (
        "{SSHA}" + b64encode(hashlib.sha1(password.encode() + b"salt").digest() + b"salt").decode()
    )


def make() -> Any:
    """Return the tree with the application, whose database is in a directory that the environment
    names.
    """
    import cherrypy
    from rdiffweb.rdw_app import RdiffwebApp

    settings = {
        "database-uri": f"sqlite:///{os.environ['COMPAT_DATA']}/data.db",
        "environment": "production",
        "admin-password": hashed("admin-of-tests"),
        "rate-limit": "-1",
        "latest-version-url": "",
    }
    text = "\n".join(f"{name}={value}" for name, value in settings.items())
    cherrypy.tree.mount(RdiffwebApp(RdiffwebApp.parse_args(args=[], config_file_contents=text)))
    return cherrypy.tree


logging.getLogger("cherrypy").setLevel(logging.CRITICAL)
app = make()
