"""Todo-Backend: the API of a todo list, as the Todo-Backend project defines it. JavaScript clients
on other sites use it.
"""

from __future__ import annotations

import itertools
import threading
from typing import Annotated, Literal

from msgspec import UNSET, Meta, Struct, UnsetType, structs

from micropie import App, HTTPError, delete, describe, get, patch, post
from micropie.middleware import CORSMiddleware

Title = Annotated[str, Meta(min_length=1, max_length=500)]


class NewTodo(Struct):
    title: Title
    order: int | None = None
    completed: bool = False


class TodoChange(Struct):
    title: Title | UnsetType = UNSET
    order: int | UnsetType | None = UNSET
    completed: bool | UnsetType = UNSET


class Todo(Struct):
    url: str
    title: str
    order: int | None
    completed: bool


class Todos(App):
    """A todo list, stored in the memory of one process."""

    def __init__(self) -> None:
        super().__init__(docs=True, errors="json", expose="explicit")
        self.middlewares += [CORSMiddleware(origins=["*"], headers=["Content-Type"])]
        self._todos: dict[int, Todo] = {}
        self._numbers = itertools.count(1)
        self._lock = threading.Lock()  # handlers run in threads

    @get("/")
    def all(self) -> list[Todo]:
        """List the todos."""
        with self._lock:
            return list(self._todos.values())

    @post("/")
    @describe(status=201, response_model=Todo)
    def add(self, todo: NewTodo) -> tuple[int, Todo, dict[str, str]]:
        """Add a todo."""
        number = next(self._numbers)
        made = Todo(self.absolute_url_for("show", number=number), **structs.asdict(todo))
        with self._lock:
            self._todos[number] = made
        return 201, made, {"Location": made.url}

    @delete("/")
    def clear(self) -> tuple[Literal[204], None]:
        """Remove all todos."""
        with self._lock:
            self._todos.clear()
        return 204, None

    @get("/<number:int>")
    @describe(responses={404: "There is no such todo."})
    def show(self, number: int) -> Todo:
        """Show a todo."""
        with self._lock:
            if number not in self._todos:
                raise HTTPError(404, f"There is no todo {number}.")
            return self._todos[number]

    @patch("/<number:int>")
    @describe(responses={404: "There is no such todo."})
    def change(self, number: int, changes: TodoChange) -> Todo:
        """Change the fields that are in the body."""
        sent = structs.asdict(changes).items()
        old = self.show(number)
        new = structs.replace(old, **{name: value for name, value in sent if value is not UNSET})
        with self._lock:
            self._todos[number] = new
        return new

    @delete("/<number:int>")
    @describe(responses={404: "There is no such todo."})
    def remove(self, number: int) -> tuple[Literal[204], None]:
        """Remove a todo."""
        self.show(number)
        with self._lock:
            self._todos.pop(number, None)
        return 204, None


app = Todos()
