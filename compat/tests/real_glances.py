"""The web interface of Glances 3, which is written on Bottle, with our module instead of
Bottle.
"""

from __future__ import annotations

import sys
from typing import Any

from micropie_compat import install

install("bottle")


def make() -> Any:
    """Return the application, with those sources of figures that ask nobody on the network."""
    from glances.main import GlancesMain
    from glances.outputs.glances_bottle import GlancesBottle
    from glances.stats import GlancesStats

    sys.argv = ["glances", "-w", "--disable-plugin", "cloud,containers,docker,ip,ports,smart,wifi"]
    started = GlancesMain()
    config, args = started.get_config(), started.get_args()
    web = GlancesBottle(config=config, args=args)
    web.stats = GlancesStats(config=config, args=args)
    web.plugins_list = web.stats.getPluginsList()
    return web._app


app = make()
