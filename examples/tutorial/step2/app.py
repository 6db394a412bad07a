from micropie import App, HTTPError

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


app = Blog(debug=True)

app.static("/static", "static")
