"""Long computations in other processes, during which the server continues to handle requests."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

from msgspec import Meta

from micropie import App, get, run_in, where


def is_prime(number: int) -> bool:
    return number > 1 and all(number % divisor for divisor in range(2, int(number**0.5) + 1))


Limit = Annotated[int, Meta(ge=1, le=300_000)]
Steps = Annotated[int, Meta(ge=1, le=100)]


class Primes(App):
    @get
    @run_in("process")
    def count(self, limit: Limit = 100_000) -> dict[str, object]:
        return {"limit": limit, "primes": sum(map(is_prime, range(limit))), "ran in": where()}

    @get
    @run_in("process")
    def progress(self, limit: Limit = 100_000, steps: Steps = 10) -> Iterator[str]:
        """Stream the number of primes found so far, a line after each step."""
        total = 0
        for step in range(steps):
            total += sum(map(is_prime, range(limit * step // steps, limit * (step + 1) // steps)))
            yield f"{total} primes below {limit * (step + 1) // steps}\n"

    @get
    @run_in("loop")
    def ping(self) -> str:
        """Respond immediately, even during a computation."""
        return "pong"


app = Primes(text="plain")
