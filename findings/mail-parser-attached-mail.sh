#!/usr/bin/env bash
# Expected: the body of a mail is the text of its author. A mail that is attached (message/rfc822)
# is an attachment.
# Seen: mail-parser lists the attached mail as an attachment with a random name, and adds its text
# to the body and to text_plain too.
# It matters for help desks and searches: a customer who attaches an old mail seems to have written
# its text, orders and cancellations included.
# mail-parser 4.8.0; RFC 2046, section 5.2.1
set -eu

folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
PATH="$folder/venv/bin:$PATH"
pip install --quiet --disable-pip-version-check 'mail-parser==4.8.0'
python --version
pip freeze

cat >program.py <<'EOF'
import email.message
import email.policy
import logging
import sys

import mailparser

logging.disable(logging.CRITICAL)
old = email.message.EmailMessage()
old["From"], old["Subject"] = "shop@example.com", "Old order"
old.set_content("Please cancel everything.\n")
mail = email.message.EmailMessage()
mail["From"], mail["To"], mail["Subject"] = "jane@example.com", "shop@example.com", "Pies"
mail.set_content("I'd like ten pies.\n")
mail.add_attachment(old)
mail.add_attachment("a;b\n", subtype="plain", filename="list.txt")
parsed = mailparser.parse_from_bytes(mail.as_bytes())
seen = {
    "text_plain": [text.strip() for text in parsed.text_plain],
    "in the body": "cancel everything" in parsed.body,
    "attachments": [one["mail_content_type"] for one in parsed.attachments],
    "by Python": mail.get_body().get_content().strip(),
}
print(*seen.items(), sep="\n")
EXPECTED = {
    "text_plain": ["I'd like ten pies.", "Please cancel everything."],
    "in the body": True,
    "attachments": ["message/rfc822", "text/plain"],
    "by Python": "I'd like ten pies.",
}
if seen != EXPECTED:
    sys.exit("The behaviour has changed.")
EOF
python program.py
