from micropie import App, request, run_in


class Root(App):
    @run_in("process")
    def primes(self, limit: int):
        return [n for n in range(2, limit) if all(n % d for d in range(2, n))]

    @run_in("process")
    def rows(self, count: int):  # each row is sent as soon as it is yielded
        for number in range(count):
            yield f"{number},{number**number}\n"


app = Root()


@app.get("/cpu")
@run_in("process")
def cpu():
    return {"colour": request.query.get("colour", "none")}
