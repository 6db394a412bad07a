from contextlib import asynccontextmanager

from micropie import App, HTTPError, requires

from shop import Shop


def staff(request):
    if request.query.get("key") != "sesame":
        raise HTTPError(401, "For our staff only.")
    return True


class Office(App):
    def index(self):
        return f"{sum(self.state.pies.values())} pies are left"


class Root(App):
    shop = Shop()
    office = requires(staff)(Office())

    @asynccontextmanager
    async def lifespan(self):
        self.state.pies = {"apple": 3, "cherry": 5}  # in your application, a pool of connections
        yield

    def index(self):
        return self.render("home.html")


app = Root(template_globals={"site": "Pies & more"})
