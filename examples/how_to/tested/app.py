from concurrent.futures import ThreadPoolExecutor
from datetime import date

from micropie import App, run_in
from micropie.middleware import MemoryRates, RateLimit
from micropie.testing import TestClient


class Shop(App):
    def __init__(self, today=date.today, **settings):
        super().__init__(**settings)
        self._today = today

    @run_in("process")
    def square(self, number: int):
        return number**2

    @RateLimit(1, per=60)
    def offer(self):
        return f"Pies are cheap on {self._today():%A}."


def test_it():
    now = [0]
    settings = {"pool": ThreadPoolExecutor(1), "rates": MemoryRates(clock=lambda: now[0])}
    with TestClient(Shop(lambda: date(2026, 1, 2), **settings)) as client:
        assert client.get("/square/5").json() == 25
        assert client.get("/offer").text == "Pies are cheap on Friday."
        assert client.get("/offer").status_code == 429
        now[0] = 60
        assert client.get("/offer").status_code == 200
