from typing import Annotated

from micropie import App, BindingErrors, HTTPError, Redirect, flash, get, post
from micropie.middleware import CSRFMiddleware
from msgspec import Meta

POSTS = [
    {"title": "Apple pie", "text": "Take six apples."},
    {"title": "Cherry pie", "text": "Take a pound of cherries."},
]


class Blog(App):
    def index(self):
        return self.render("index.html", posts=POSTS)

    def read(self, number: int):
        if not 0 <= number < len(POSTS):
            raise HTTPError(404, "There is no such post.")
        return self.render("read.html", post=POSTS[number])

    @get
    def write(self):
        return self.render("write.html", errors=BindingErrors())

    @post("/write")
    def publish(
        self,
        errors: BindingErrors,
        title: Annotated[str, Meta(min_length=1, max_length=100)],
        text: Annotated[str, Meta(min_length=1)],
    ):
        if errors:
            return 422, self.render("write.html", errors=errors)
        POSTS.append({"title": title, "text": text})
        flash("The post is published.")
        return Redirect(self.url_for("read", len(POSTS) - 1))


app = Blog(debug=True)

app.middlewares.append(CSRFMiddleware())
app.static("/static", "static")
