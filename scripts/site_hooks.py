"""Hooks of mkdocs for building the site. They add two pages from files of the repository, links to
its other files, the version in the footer, line breaks in long names on narrow screens, and
redirects for pages that were merged into others. They keep listings out of the search index.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

import micropie

ROOT = Path(__file__).parent.parent
# Matches a listing, which scrolls, or inline code. Text without a space that is wider than a
# phone's screen may be broken after brackets and similar characters and before a dot. A part that
# is still too long may be broken after an underscore.
LISTING_OR_CODE = re.compile(r"<pre\b.*?</pre>|(<code>)(.*?)(</code>)", re.DOTALL)
TAG_OR_TEXT = re.compile(r'<(?:"[^"]*"|[^">])*>|[^<]+')
LONG = re.compile(r"(?:&\w+;|&#\d+;|[^\s<>&]){25,}")
SIGNS = re.compile(r"""(?<=[\w/)\]"'][(/,=:])(?=[\w"'])|(?<=::)(?=\w)|(?<=[\w)\]"'])(?=\.\w)""")
UNDERSCORES = re.compile(r"(?<=[^\W_]_)(?=[^\W_])")


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Write the version and the licence into the footer of each page."""
    config.copyright = f"micropie {micropie.__version__}, BSD-3-Clause"
    return config


def on_files(files: Files, *, config: MkDocsConfig) -> Files:
    """Add pages for the change log and the licence, which are at the top level of the
    repository.
    """
    changes = (ROOT / "CHANGELOG.md").read_text("utf-8").replace("](docs/", "](")
    files.append(File.generated(config, "changelog.md", content=changes))
    files.append(
        File.generated(
            config, "license.md", content=f"# Licence\n\n{(ROOT / 'LICENSE').read_text('utf-8')}"
        )
    )
    return files


# The weight of pages in the search, by the beginning of their URL. A page that explains a word
# should come before pages that only list it.
WEIGHTS = {
    "changelog": 0.01,
    "license": 0.01,
    "explanation/tested": 0.1,
    "explanation/choose": 0.3,
    "explanation/async": 0.3,
    "explanation/inside": 0.05,
    "explanation/decisions": 0.05,
    "glossary": 0.05,
    "performance": 0.1,
    "reference/": 0.3,
    "reference/middleware-": 1,
    "reference/rates": 0.5,
    "reference/authentication": 1,
    "reference/csrf": 1,
    "extension": 0.3,
}


# Matches a directive of the reference with an option: "-" leaves the members of the name out, "*"
# shows only the members, and a list of members shows only those.
NAMED = re.compile(r"^(::: \S+) (.+)$", re.MULTILINE)


# For readers of the repository, where the directives are not expanded.
WHERE = "[Where is the text?](index.md#names)\n\n"


def _options(named: re.Match[str]) -> str:
    if named[2] == "-":
        return f"{named[1]}\n    options: {{ members: false }}"
    alone = "show_root_heading: false, show_root_toc_entry: false, extra: { members_only: true }"
    members = "" if named[2] == "*" else f", members: [{', '.join(named[2].split())}]"
    return f"{named[1]}\n    options: {{ {alone}, heading_level: 3{members} }}"


# Matches a link that may point outside the folder of the pages.
UPWARD = re.compile(r"\[([^\]]+)\]\((\.\./[^)#]+)(?:#[^)]*)?\)")


def on_page_markdown(markdown: str, *, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Set the weight of pages in the search, expand the options of directives, and replace links to
    files of the repository by links to its website. If the website isn't known, such a link becomes
    plain text.
    """
    for beginning, weight in WEIGHTS.items():
        if page.url.startswith(beginning):
            page.meta["search"] = {"boost": weight}
    if page.url.startswith("tutorial/"):  # the listings need the space of the table of contents
        page.meta["hide"] = ["toc"]
    folder = posixpath.join("docs", posixpath.dirname(page.file.src_uri))
    repository = (config.repo_url or "").rstrip("/")

    def linked(link: re.Match[str]) -> str:
        path = posixpath.normpath(posixpath.join(folder, link[2]))
        if path.startswith("docs/"):
            return link[0]
        return f"[{link[1]}]({repository}/blob/HEAD/{path})" if repository else link[1]

    return UPWARD.sub(linked, NAMED.sub(_options, markdown.replace(WHERE, "")))


def on_page_content(html: str, *, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Remove listings from the search index. A search result shows the text around a match, and a
    listing would fill the window.
    """
    return html.replace("<pre", "<pre data-search-exclude")


def on_post_page(output: str, *, page: Page, config: MkDocsConfig) -> str:
    """Allow line breaks in long names, for narrow screens.

    The search index is built before this, from the unbroken names.
    """
    return LISTING_OR_CODE.sub(_breakable, output)


# The old addresses of pages, each with the page and section that now contain its text.
MOVED = {
    "deploy/faults.html": "several-machines.html#what-users-notice",
    "explanation/which-route-wins.html": "../routing.html#which-route-wins",
    "explanation/security-model.html": "../security.html#who-is-trusted-with-what",
    "moving/old-templates.html": "half-moved.html#templates",
    "operation-middleware.html": "reference/middleware-operation.html#middleware-for-operation",
    "reference/error-handlers.html": "../errors.html#error-handlers-a-custom-404-page",
    "resource-hooks.html": "resources.html#all-other-code",
    "security-middleware.html": "reference/middleware-security.html#middleware-for-security",
}


def on_post_build(*, config: MkDocsConfig) -> None:
    """Write a redirect for each old address."""
    for old, new in MOVED.items():
        page = Path(config.site_dir, old)
        page.parent.mkdir(exist_ok=True)
        page.write_text(
            '<!doctype html><html lang="en"><meta charset="utf-8"><title>Moved</title>'
            f'<meta http-equiv="refresh" content="0; url={new}"><a href="{new}">Moved</a></html>'
        )


def _breakable(found: re.Match[str]) -> str:
    if found[1] is None:
        return found[0]
    return found[1] + TAG_OR_TEXT.sub(_broken, found[2]) + found[3]


def _broken(found: re.Match[str]) -> str:
    if found[0][0] == "<":
        return found[0]
    text = LONG.sub(lambda long: SIGNS.sub("<wbr>", long[0]), found[0])
    return LONG.sub(lambda long: UNDERSCORES.sub("<wbr>", long[0]), text)
