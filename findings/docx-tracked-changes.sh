#!/usr/bin/env bash
# Expected: the text of a Word document is what a reader sees: inserted words are part of it, and so
# are words in a content control, such as a date that is chosen from a calendar. What was moved is
# at its new place only.
# Seen: paragraph.text of python-docx has neither inserted words nor those of a content control:
# "Price: 100 euros, due 1 June", where 100 was changed to 120, is "Price: euros, due ". docx2txt
# has both, and repeats moved words at their old place. It joins the parts of a word with a hyphen
# that doesn't break. mammoth has the text that the reader sees.
# It matters for contracts, which are sent around with tracked changes, and for forms: prices and
# dates are missing in an index or a comparison.
# python-docx 1.2.0, docx2txt 0.9, mammoth 1.13.0;
# https://github.com/python-openxml/python-docx/issues/1123
set -eu

folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
PATH="$folder/venv/bin:$PATH"
pip install --quiet --disable-pip-version-check \
    'python-docx==1.2.0' 'docx2txt==0.9' 'mammoth==1.13.0'
python --version
pip freeze

cat >program.py <<'EOF'
import sys

import docx
import docx2txt
import mammoth
from docx.oxml import parse_xml

NAMES = 'xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main"'
BY = f'{NAMES} w:author="Ann" w:id='
PARTS = [
    f'<w:del {BY}"1"><w:r><w:delText>100</w:delText></w:r></w:del>',
    f'<w:ins {BY}"2"><w:r><w:t>120</w:t></w:r></w:ins>',
    f'<w:r {NAMES}><w:t xml:space="preserve"> euros, due </w:t></w:r>',
    f"<w:sdt {NAMES}><w:sdtContent><w:r><w:t>1 June</w:t></w:r></w:sdtContent></w:sdt>",
    f'<w:moveFrom {BY}"3"><w:r><w:t>, net</w:t></w:r></w:moveFrom>',
    f"<w:r {NAMES}><w:t>, e</w:t><w:noBreakHyphen/><w:t>mail</w:t></w:r>",
    f'<w:moveTo {BY}"4"><w:r><w:t>, net</w:t></w:r></w:moveTo>',
]
document = docx.Document()
paragraph = document.add_paragraph("Price: ")
for part in PARTS:
    paragraph._p.append(parse_xml(part))
document.save("contract.docx")

seen = {"python-docx": docx.Document("contract.docx").paragraphs[0].text}
seen["docx2txt"] = docx2txt.process("contract.docx").strip()
with open("contract.docx", "rb") as file:
    seen["mammoth"] = mammoth.extract_raw_text(file).value.strip()
for name, text in seen.items():
    print(f"{name}: {text!r}")
if seen != {
    "python-docx": "Price:  euros, due , e-mail",
    "docx2txt": "Price: 120 euros, due 1 June, net, email, net",
    "mammoth": "Price: 120 euros, due 1 June, e\u2011mail, net",
}:
    sys.exit("The behaviour has changed.")
EOF
python program.py
