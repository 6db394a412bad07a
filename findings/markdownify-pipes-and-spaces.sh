#!/usr/bin/env bash
# Expected: markdownify escapes what has a meaning in Markdown, as it does with * and _ in the text.
# Seen: a | in a cell of a table isn't escaped, so the row has one cell more than the head, and the
# last cell is dropped when the text is rendered. An address with a space or with a closing
# parenthesis, as browsers accept it in href, isn't put in angle brackets: in place of a link,
# readers see brackets. The option escape_misc, which is off by default, changes only the first.
# It matters for wikis and documents that are converted once: the lost cell isn't missed until
# somebody looks for it. markdown-it-py renders both as CommonMark and GFM say.
# markdownify 1.2.3, beside markdown-it-py 4.3.0; convert_td and convert_a in the package's
# markdownify/__init__.py; https://github.github.com/gfm/#tables-extension-
set -eu

folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
PATH="$folder/venv/bin:$PATH"
pip install --quiet --disable-pip-version-check 'markdownify==1.2.3' 'markdown-it-py==4.3.0'
python --version
pip freeze

cat >program.py <<'EOF'
import re
import sys

from markdown_it import MarkdownIt
from markdownify import markdownify

PAGES = {
    "table": "<table><tr><th>key</th><th>use</th></tr><tr><td>a|b</td><td>choice</td></tr></table>",
    "space": '<p><a href="a b.html">text</a></p>',
    "parenthesis": '<p><a href="a).html">text</a></p>',
    "star": "<p>2*3*4</p>",
}
renderer = MarkdownIt("commonmark").enable("table")
seen = {}
for name, page in PAGES.items():
    written = markdownify(page)
    rendered = renderer.render(written.strip())
    print(f"{name}: {written.strip()!r}\n    {rendered!r}")
    seen[name] = " ".join(re.sub("<.*?>", " ", rendered).split()), "<a " in rendered
print("with escape_misc:", repr(markdownify(PAGES["table"], escape_misc=True).strip()))
if seen != {
    "table": ("key use a b", False),
    "space": ("[text](a b.html)", False),
    "parenthesis": ("text .html)", True),
    "star": ("2*3*4", False),
}:
    sys.exit("The behaviour has changed.")
EOF
python program.py
