#!/usr/bin/env bash
# Expected: of a reply to an email, the quoted message and a signature behind "-- " (RFC 3676, 4.3)
# are left out, and the writer's text is kept.
# Seen: email-reply-parser drops the text from a line on that begins with a minus or two underscores
# and a letter or digit, if an empty line precedes it, and all of a text whose first paragraph says
# "On Monday ... wrote:". Nothing is quoted in these messages.
# It matters for tickets and comments by email: the support doesn't see what the customer wrote.
# email-reply-parser 0.5.12; https://www.rfc-editor.org/rfc/rfc3676#section-4.3;
# https://github.com/zapier/email-reply-parser/blob/master/email_reply_parser/__init__.py
set -eu

folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
PATH="$folder/venv/bin:$PATH"
pip install --quiet --disable-pip-version-check 'email-reply-parser==0.5.12'
python --version
pip freeze

cat >program.py <<'EOF'
import sys

from email_reply_parser import EmailReplyParser

EXPECTED = {
    "Two prices:\n\n-5 % from ten pies\n-8 % from twenty": "Two prices:",
    "Please run it as\n\n-v pies.txt\n\nand send the output.": "Please run it as",
    "The error is in\n\n__init__.py\n\nof the package.": "The error is in",
    "On Monday I was in Berlin.\nMy customer wrote:\nten pies, please.\n\nCan we?": "",
    "Two prices:\n-5 % from ten pies": "Two prices:\n-5 % from ten pies",
    "Yes.\n\n> Are there pies?\n\n-- \nAda": "Yes.",
}
seen = {text: EmailReplyParser.parse_reply(text) for text in EXPECTED}
for text, reply in seen.items():
    print(f"{text!r}\n    is {reply!r}")
if seen != EXPECTED:
    sys.exit("The behaviour has changed.")
EOF
python program.py
