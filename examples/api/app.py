"""A JSON API for a list of tasks. Its OpenAPI document is at /openapi.json, and a page to try it
out at /docs.

Input is validated according to the annotations, which also describe the output.
"""

from __future__ import annotations

import itertools
import threading
from dataclasses import dataclass, replace
from typing import Annotated, Literal

from msgspec import Meta

from micropie import App, HTTPError, delete, describe, get, patch, post

Title = Annotated[str, Meta(min_length=1, max_length=100)]
State = Literal["open", "done"]


@dataclass(frozen=True)
class NewTask:
    title: Title
    minutes: Annotated[int, Meta(ge=1, le=1440)] = 30


@dataclass(frozen=True)
class TaskChanges:
    title: Title | None = None
    state: State | None = None


@dataclass(frozen=True)
class Task:
    id: int
    title: str
    minutes: int
    state: State


class Tasks(App):
    """A list of tasks, stored in memory."""

    def __init__(self) -> None:
        super().__init__(docs=True, errors="json")
        self._tasks: dict[int, Task] = {}
        self._ids = itertools.count(1)
        self._lock = threading.Lock()  # handlers run in threads

    @get("/tasks")
    def list(self, state: State | None = None) -> list[Task]:
        """List the tasks, all or those of one state."""
        with self._lock:
            return [task for task in self._tasks.values() if state in (None, task.state)]

    @post("/tasks")
    @describe(status=201, response_model=Task)
    def create(self, task: NewTask) -> tuple[int, Task, dict[str, str]]:
        """Add a task."""
        with self._lock:
            made = Task(next(self._ids), task.title, task.minutes, "open")
            self._tasks[made.id] = made
        return 201, made, {"Location": self.url_for("show", number=made.id)}

    @get("/tasks/<number:int>")
    @describe(responses={404: "There is no such task."})
    def show(self, number: int) -> Task:
        """Show a task."""
        with self._lock:
            if number not in self._tasks:
                raise HTTPError(404, f"There is no task {number}.")
            return self._tasks[number]

    @patch("/tasks/<number:int>")
    @describe(responses={404: "There is no such task."})
    def change(self, number: int, changes: TaskChanges) -> Task:
        """Change a task's title, its state or both."""
        old = self.show(number)
        with self._lock:
            self._tasks[number] = new = replace(
                old, title=changes.title or old.title, state=changes.state or old.state
            )
        return new

    @delete("/tasks/<number:int>")
    @describe(status=204, responses={404: "There is no such task."})
    def remove(self, number: int) -> tuple[Literal[204], None]:
        """Remove a task."""
        self.show(number)
        with self._lock:
            self._tasks.pop(number, None)
        return 204, None


app = Tasks()
