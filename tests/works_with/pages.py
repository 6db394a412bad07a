"""Pages: templates, and what makes HTML without them."""

import io
from collections.abc import Callable
from typing import Any

from micropie import App, Request, Response, template
from tests.works_with.listed import World, client_of, works

HTML = "<p>a &amp; b</p>"


def page(world: World, render: Callable[[], object], app: App | None = None) -> None:
    app = app or App()
    app.get("/")(render)
    with client_of(app, world) as client:
        response = client.get("/")
        assert response.text.strip() == HTML, response.text
        assert response.headers["content-type"].startswith("text/html")


@works("jinja2")
def jinja2(world: World) -> None:
    page(world, lambda: template(source="<p>{{ name }}</p>", name="a & b"))


@works("jinja2", what="do, loopcontrols")
def jinja2_extensions(world: World) -> None:
    def set_up(environment: Any) -> None:
        environment.add_extension("jinja2.ext.do")
        environment.add_extension("jinja2.ext.loopcontrols")

    source = (
        "{% set found = [] %}{% for one in names %}{% if one == 'c' %}{% break %}{% endif %}"
        "{% do found.append(one) %}{% endfor %}<p>{{ found | join(' & ') }}</p>"
    )
    app = App(template_setup=set_up)
    page(world, lambda: template(source=source, names=["a", "b", "c"]), app)


@works("babel", what="translations")
def babel(world: World) -> None:
    from babel.messages import Catalog, mofile
    from babel.support import NullTranslations, Translations

    catalog = Catalog(locale="de")
    catalog.add("Hello, %(name)s!", "Hallo, %(name)s!")
    with io.BytesIO() as file:
        mofile.write_mo(file, catalog)
        file.seek(0)
        german = Translations(file)

    def catalog_of(request: Request) -> Any:
        return german if request.headers.get("accept-language") == "de" else NullTranslations()

    app = App(translations=catalog_of)
    source = "{% trans %}Hello, {{ name }}!{% endtrans %}"
    app.get("/")(lambda: template(source=source, name="Ann"))
    with client_of(app, world) as client:
        answers = [client.get("/", headers={"Accept-Language": one}).text for one in ("de", "en")]
        assert answers == ["Hallo, Ann!", "Hello, Ann!"]


@works("mako")
def mako(world: World) -> None:
    from mako.template import Template

    text = Template("<p>${name | h}</p>")
    page(world, lambda: Response(text.render(name="a & b"), content_type="text/html"))


@works("chameleon")
def chameleon(world: World) -> None:
    from chameleon import PageTemplate

    text = PageTemplate("<p>${name}</p>")
    page(world, lambda: Response(text(name="a & b"), content_type="text/html"))


@works("markupsafe")
def markupsafe(world: World) -> None:
    from markupsafe import Markup

    page(world, lambda: Markup("<p>{}</p>").format("a & b"))


@works("htpy")
def htpy(world: World) -> None:
    from htpy import p

    page(world, lambda: p["a & b"])


@works("python-fasthtml")
def fasthtml(world: World) -> None:
    from fasthtml.common import P

    page(world, lambda: P("a & b"))
