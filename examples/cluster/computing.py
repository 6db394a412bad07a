"""The computation, which runs in other processes. Dask's workers import only this module of the
application.
"""

from __future__ import annotations

import time
from typing import Any

from micropie import App, run_in


class Computing(App):
    @run_in("process")
    def primes(self, below: int, seconds: float = 0) -> dict[str, Any]:
        """Count the primes below a number, taking at least ``seconds``."""
        time.sleep(seconds)
        return {
            "below": below,
            "primes": sum(all(n % d for d in range(2, int(n**0.5) + 1)) for n in range(2, below)),
        }
