#!/usr/bin/env bash
# Expected: a book that EbookLib reads and writes looks the same, apart from what the program
# changes.
# Seen: each chapter's head is empty in the new book: its title and its link to the stylesheet are
# missing, and so are the attributes of the body. The stylesheet is still in the book, but no
# chapter refers to it. Neither an exception nor a warning follows. `item.content` has the original
# text; the library writes `item.get_content()`, which builds a new page around the content of the
# body.
# It matters for programs that correct the metadata of books: each book loses its design, and a
# test that reads the metadata again passes.
# EbookLib 0.20; https://github.com/aerkalov/ebooklib/blob/master/ebooklib/epub.py,
# EpubHtml.get_content; https://www.w3.org/TR/epub-33/#sec-css
set -eu

folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
PATH="$folder/venv/bin:$PATH"
pip install --quiet --disable-pip-version-check 'EbookLib==0.20'
python --version
pip freeze

cat >program.py <<'EOF'
import re
import sys
import warnings
import zipfile

from ebooklib import epub

FILES = {
    "mimetype": "application/epub+zip",
    "META-INF/container.xml": """<?xml version="1.0"?>
<container version="1.0" xmlns="urn:oasis:names:tc:opendocument:xmlns:container">
<rootfiles>
<rootfile full-path="EPUB/content.opf" media-type="application/oebps-package+xml"/>
</rootfiles>
</container>
""",
    "EPUB/content.opf": """<?xml version="1.0"?>
<package xmlns="http://www.idpf.org/2007/opf" unique-identifier="id" version="3.0">
<metadata xmlns:dc="http://purl.org/dc/elements/1.1/">
<dc:identifier id="id">urn:uuid:00000000-0000-4000-8000-000000000000</dc:identifier>
<dc:title>Pies</dc:title><dc:language>en</dc:language>
<meta property="dcterms:modified">2024-03-18T12:00:00Z</meta>
</metadata>
<manifest>
<item href="nav.xhtml" id="nav" media-type="application/xhtml+xml" properties="nav"/>
<item href="apple.xhtml" id="apple" media-type="application/xhtml+xml"/>
<item href="style.css" id="style" media-type="text/css"/>
</manifest>
<spine><itemref idref="apple"/></spine>
</package>
""",
    "EPUB/nav.xhtml": """<?xml version="1.0"?>
<html xmlns="http://www.w3.org/1999/xhtml" xmlns:epub="http://www.idpf.org/2007/ops">
<head><title>Contents</title></head>
<body><nav epub:type="toc"><ol><li><a href="apple.xhtml">Apple pie</a></li></ol></nav></body>
</html>
""",
    "EPUB/apple.xhtml": """<?xml version="1.0"?>
<html xmlns="http://www.w3.org/1999/xhtml">
<head><title>Apple pie</title><link rel="stylesheet" href="style.css"/></head>
<body class="recipe"><p class="step">Bake it.</p></body>
</html>
""",
    "EPUB/style.css": ".step { font-weight: bold }\n",
}
with zipfile.ZipFile("before.epub", "w") as archive:
    for name, text in FILES.items():
        archive.writestr(name, text)
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    book = epub.read_epub("before.epub")
    book.add_author("Ann Baker")
    epub.write_epub("after.epub", book)
with zipfile.ZipFile("after.epub") as archive:
    chapter = archive.read("EPUB/apple.xhtml").decode()
    style = archive.read("EPUB/style.css").decode()
print(FILES["EPUB/apple.xhtml"], chapter, sep="\n")
caught = [str(warning.message) for warning in caught if "ebooklib" in warning.filename]
print("warnings:", caught)
if (
    re.search("<title|style.css|recipe", chapter)
    or '<p class="step">Bake it.</p>' not in chapter
    or style != FILES["EPUB/style.css"]
    or caught
):
    sys.exit("The behaviour has changed.")
EOF
python program.py
