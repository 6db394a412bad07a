"""Templates: of Bottle's own engine and of Jinja2, by name and by source, and views."""

from pathlib import Path

from bottle import Bottle, jinja2_template, jinja2_view, request, response, template, view

VIEWS = [str(Path(__file__).parent.parent / "views")]

app = Bottle()


@app.get("/source")
def source():
    return template("Hello {{name}}!", name=request.query.name or "world")


@app.get("/raw")
def raw():
    return template("{{!name}} and {{name}}", name="<b>bold</b>")


@app.get("/named")
def named():
    return template(
        "greeting",
        name=request.query.name or "<reader>",
        words=["one", "two"],
        template_lookup=VIEWS,
    )


@app.get("/file-name")
def file_name():
    return template("greeting.tpl", {"name": "dict", "words": ["x"]}, template_lookup=VIEWS)


@app.get("/rebased")
def rebased():
    return template("page", heading="Heading", template_lookup=VIEWS)


@app.get("/missing")
def missing():
    return template("no_such_template", template_lookup=VIEWS)


@app.get("/code")
def code():
    return template(
        "% for i in range(n):\n{{i}},\n% end\n%% not code\n<%\nx = n * 2\n%>\n{{x}}\n", n=3
    )


@app.get("/line-ends")
def line_ends():
    return template("a \\\\\nb\n{{'c'}} \\\\\nd")


@app.get("/functions")
def functions():
    return template("{{get('x', 'none')}} {{defined('y')}} {{setdefault('z', 5)}} {{z}}", y=1)


@app.get("/undefined")
def undefined():
    return template("{{not_there}}", x=1)


@app.get("/broken")
def broken():
    return template("% if True:\nnever ended\n{{!(}}", x=1)


@app.get("/unicode")
def unicode():
    return template("{{word}} ü\n", word="é")


@app.get("/viewed")
@view("greeting", template_lookup=VIEWS)
def viewed():
    return {"name": "view", "words": ["a"]}


@app.get("/viewed-default")
@view("greeting", template_lookup=VIEWS, name="default", words=[])
def viewed_default():
    return {}


@app.get("/viewed-text")
@view("greeting", template_lookup=VIEWS)
def viewed_text():
    return "not a dict"


@app.get("/viewed-none")
@view("greeting", template_lookup=VIEWS, name="none", words=[])
def viewed_none():
    return None


@app.get("/by-option", template="greeting", template_lookup=VIEWS)
def by_option():
    return "text is left as it is"


@app.get("/by-source", template=("{{a}} {{b}}", {"b": "default"}))
def by_source():
    return {"a": "<1>"}


@app.get("/jinja")
def jinja():
    return jinja2_template(
        "{% for x in xs %}<{{ x }}>{% endfor %} {{ name|upper }}", xs=[1, 2], name="n"
    )


@app.get("/jinja-named")
@jinja2_view("page.html", template_lookup=VIEWS)
def jinja_named():
    return {"title": "<Title>", "items": ["a", "b"]}


@app.get("/typed")
def typed():
    response.content_type = "text/plain"
    return template("{{a}}", a="x")
