"""To-do lists with HTMX: each response is a page, or one block of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import count
from typing import Annotated

from msgspec import Meta

from micropie import App, BindingErrors, HTTPError, Request, delete, get, html, patch, post
from micropie.middleware import Compress, SecurityDefaults


@dataclass
class Task:
    number: int
    text: str
    done: bool = False


@dataclass
class Store:
    tasks: dict[int, Task] = field(default_factory=dict)
    numbers: count[int] = field(default_factory=lambda: count(1))


Text = Annotated[str, Meta(min_length=1, max_length=200)]


def is_partial(request: Request) -> bool:
    return request.headers.get("HX-Request") == "true"


class Todo(App):
    def __init__(self, store: Store) -> None:
        super().__init__(methods=["GET", "HEAD", "POST"], security=SecurityDefaults("localhost"))
        self.store = store
        self.middlewares.append(Compress())

    @get
    def index(self, show: str = "all", page: int = 1) -> object:
        wanted = {"all": (True, False), "open": (False,), "done": (True,)}.get(show)
        if wanted is None:
            raise HTTPError(404)
        tasks = [task for task in self.store.tasks.values() if task.done in wanted]
        block = "list" if is_partial(self.request) else None
        self.response.headers["Vary"] = "HX-Request"
        return self.render("todo.html", tasks=tasks, show=show, block=block)

    @post
    def add(self, text: Text, errors: BindingErrors) -> object:
        if errors:
            return 422, html('<p id="error">{}</p>', errors["text"])
        task = Task(next(self.store.numbers), text)
        self.store.tasks[task.number] = task
        self.response.headers["HX-Trigger"] = "added"
        return self._row(task)

    @patch("/tasks/<number:int>")
    def toggle(self, number: int) -> str:
        task = self._task(number)
        task.done = not task.done
        return self._row(task)

    @delete("/tasks/<number:int>")
    def remove(self, number: int) -> str:
        self.store.tasks.pop(self._task(number).number)
        return ""

    def _task(self, number: int) -> Task:
        if number not in self.store.tasks:
            raise HTTPError(404)
        return self.store.tasks[number]

    def _row(self, task: Task) -> str:
        checked = "checked" if task.done else ""
        return html(
            '<li id="{}"><input type="checkbox" {}> {}</li>', task.number, checked, task.text
        )


app = Todo(Store())
app.static("/static", ".", max_age=3600)
