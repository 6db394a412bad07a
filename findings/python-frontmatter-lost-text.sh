#!/usr/bin/env bash
# Expected: a file of Markdown without front matter is returned as it is, and the text below front
# matter, too. Four spaces at the beginning are a block of code, three or more minus signs a rule
# (CommonMark, 4.4 and 4.1).
# Seen: python-frontmatter takes all that stands between two rules at the beginning of a file for
# front matter. If it isn't a mapping of YAML, it is dropped: the post has no metadata, and the text
# is gone. Four spaces at the beginning are removed, so the first line of code is a paragraph.
# Nothing is raised.
# It matters for programs that read a folder of notes and write them back with one more field.
# python-frontmatter 1.3.0; https://spec.commonmark.org/0.31.2/#thematic-breaks and
# https://spec.commonmark.org/0.31.2/#indented-code-blocks
set -eu

folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
PATH="$folder/venv/bin:$PATH"
pip install --quiet --disable-pip-version-check 'python-frontmatter==1.3.0'
python --version
pip freeze

cat >program.py <<'EOF'
import sys

import frontmatter

EXPECTED = {
    "---\nPies of the month\n---\nApple": "Apple",
    "---\n- apple\n- plum\n---\nAll sold.": "All sold.",
    "-----\nPies\n-----\n": "",
    "---\ntitle: Pies\n---\n    bake(pie)\n    eat(pie)\n": "bake(pie)\n    eat(pie)",
    "Pies\n\n---\n\nApple": "Pies\n\n---\n\nApple",
}
seen = {}
for text in EXPECTED:
    post = frontmatter.loads(text)
    seen[text] = post.content
    print(f"{text!r}: {post.metadata}, {post.content!r}")
if seen != EXPECTED:
    sys.exit("The behaviour has changed.")
EOF
python program.py
