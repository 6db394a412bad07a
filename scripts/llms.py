"""Write two files into the site, for coding assistants: ``llms.txt``, a list of the pages with a
sentence about each, and ``llms-full.txt``, the text of all pages.

The text of a page is its Markdown, with included files inserted, and with docstrings instead of the
directives that show them.
"""

from __future__ import annotations

import importlib
import inspect
import re
from collections.abc import Iterator
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import Files
from mkdocs.structure.nav import Navigation, Section
from mkdocs.structure.pages import Page

from scripts.site_hooks import WHERE

ROOT = Path(__file__).parent.parent
FRONT_MATTER = re.compile(r"\A---\n.*?\n---\n", re.DOTALL)
HTML_OR_ATTRIBUTES = re.compile(
    r"^ *</?div[^>]*>\n|\{ [.#:][^}\n]*\}|^ *<!--test_\w+-->\n", re.MULTILINE
)
INCLUDED = re.compile(r'^( *)--8<-- "(.+)"$', re.MULTILINE)
NAMED = re.compile(r"^::: (\S+)(?: [^\n]*)?$", re.MULTILINE)
FENCED = re.compile(r"^ *```.*?^ *```$", re.MULTILINE | re.DOTALL)
# Matches the first paragraph that is plain text.
PARAGRAPH = re.compile(r"(?<=\n\n)(?![#!|<\-:\d\s])[^\n]+(?:\n[^\n]+)*")
LINK = re.compile(r"!?\[([^\]]*)\]\([^)]*\)")

_found: list[tuple[str, Page]] = []


def on_nav(nav: Navigation, *, config: MkDocsConfig, files: Files) -> Navigation:
    """Store the pages in the order of the navigation, each with the title of its section."""
    _found[:] = []
    for item in nav.items:
        part = item.title if isinstance(item, Section) else ""
        _found.extend((part, page) for page in _pages(item))
    return nav


def _pages(item: object) -> Iterator[Page]:
    if isinstance(item, Page):
        yield item
    for child in getattr(item, "children", None) or ():
        yield from _pages(child)


def on_post_build(*, config: MkDocsConfig) -> None:
    """Write both files."""
    base = (config.site_url or "").rstrip("/")
    base = f"{base}/" if base else ""
    lines = [f"# {config.site_name}\n\n> {config.site_description}\n"]
    texts = []
    last = ""
    for part, page in _found:
        text = text_of(page.file.content_string)
        if part != last:
            lines.append(f"\n## {part}\n")
        last = part
        title = str(page.title or "").replace("`", "")
        lines.append(f"- [{title}]({base}{page.url}): {sentence_of(text)}".removesuffix(": "))
        texts.append(f"<!-- {page.url} -->\n\n{text.strip()}\n")
    folder = Path(config.site_dir)
    (folder / "llms.txt").write_text("\n".join(lines) + "\n", "utf-8")
    (folder / "llms-full.txt").write_text("\n\n".join(texts), "utf-8")


def text_of(markdown: str) -> str:
    """Return a page's text with everything that it includes."""
    text = HTML_OR_ATTRIBUTES.sub("", FRONT_MATTER.sub("", markdown.replace(WHERE, "")))
    text = INCLUDED.sub(lambda found: (ROOT / found[2]).read_text("utf-8").rstrip(), text)
    return NAMED.sub(lambda found: documented(found[1]), text)


def sentence_of(text: str) -> str:
    """Return the first sentence of the first paragraph, without its links."""
    found = PARAGRAPH.search(FENCED.sub("", f"\n\n{text}"))
    words = " ".join(LINK.sub(r"\1", found[0]).split()) if found else ""
    return re.split(r"(?<=[.:?!]) ", words)[0].replace("**", "")


def documented(name: str) -> str:
    """Return a heading, the signature and the docstring of a public name."""
    module, parts = name, list[str]()
    while True:
        try:
            shown: object = importlib.import_module(module)
            break
        except ModuleNotFoundError as error:
            if not f"{module}.".startswith(f"{error.name}."):
                raise  # the module exists, and what it needs is missing
            module, _, last = module.rpartition(".")
            parts.insert(0, last)
    for part in parts:
        shown = getattr(shown, part)
    try:
        signature = str(inspect.signature(shown)) if callable(shown) else ""
    except ValueError:
        signature = ""
    short = name.rpartition(".")[2]
    return f"## {name}\n\n    {short}{signature}\n\n{inspect.getdoc(shown) or ''}"
