"""Several examples in one server process: each stands below its name, and else alone.

``EXAMPLES`` lists them.
"""

from __future__ import annotations

import os
from importlib import import_module

from micropie import App

app = App()
for name in os.environ["EXAMPLES"].split():
    app.mount(f"/{name}", import_module(f"examples.{name}.app").app, isolated=True)
