"""pypiserver, an index of packages that is written on Bottle, with our module instead of its
copy of Bottle.
"""

from __future__ import annotations

import os
from typing import Any

from micropie_compat import install

install("bottle", "pypiserver.bottle_wrapper.bottle")


def make() -> Any:
    import pypiserver

    return pypiserver.app(
        root=os.environ["COMPAT_PACKAGES"],
        auther=lambda user, password: (user, password) == ("ann", "xyz"),
        authenticate=["update"],
        disable_fallback=True,
    )


app = make()
