from micropie import App, HTTPError, escape

POSTS = [
    {"title": "Apple pie", "text": "Take six apples."},
    {"title": "Cherry pie", "text": "Take a pound of cherries."},
]


class Blog(App):
    def index(self):
        links = [
            f'<li><a href="/read/{number}">{escape(post["title"])}</a></li>'
            for number, post in enumerate(POSTS)
        ]
        return "<h1>My blog</h1><ul>" + "".join(links) + "</ul>"

    def read(self, number: int):
        if not 0 <= number < len(POSTS):
            raise HTTPError(404, "There is no such post.")
        post = POSTS[number]
        return f"<h1>{escape(post['title'])}</h1><p>{escape(post['text'])}</p>"


app = Blog()
