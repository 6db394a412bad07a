from micropie import App, run_async


def primes(limit: int) -> list[int]:
    return [n for n in range(2, limit) if all(n % d for d in range(2, n))]


class Root(App):
    async def primes(self, limit: int):
        found = await self.pool.run(primes, limit)
        return {"primes": len(found), "largest": found[-1]}

    def largest(self, limit: int):  # in def code
        return run_async(self.pool.run, primes, limit)[-1]


app = Root()
