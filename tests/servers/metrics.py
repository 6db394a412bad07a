"""An application with metrics, for ``test_metrics.py``."""

from __future__ import annotations

import os

from prometheus_client import Counter

from micropie import App

pies = Counter("pies_sold", "Pies.")


class Shop(App):
    def index(self) -> str:
        return str(os.getpid())

    def sell(self, number: int) -> str:
        pies.inc(number)
        return "thank you"


app = Shop()
app.metrics("/metrics")
