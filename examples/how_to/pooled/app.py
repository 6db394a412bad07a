from micropie import App, pooled, request


class Root(App):
    @pooled
    def primes(self, limit: int):
        return [n for n in range(2, limit) if all(n % d for d in range(2, n))]

    @pooled
    def rows(self, count: int):  # each row is sent when it is made
        for number in range(count):
            yield f"{number},{number**number}\n"


app = Root()


@app.get("/cpu", run_in="process")
def cpu():
    return {"colour": request.query("colour", "none")}
