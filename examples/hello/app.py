"""The smallest site: two pages, one of them with parameters."""

from micropie import App, escape


class Hello(App):
    def index(self) -> str:  # /
        return "Hello, World!"

    # /greet/Ann, /greet/Ann?times=3, /greet?name=Ann
    def greet(self, name: str, times: int = 1) -> str:
        # text is sent as HTML, so values from clients must be escaped
        return f"Hello, {escape(name)}! " * max(0, min(times, 100))


app = Hello()
