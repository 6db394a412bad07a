#!/usr/bin/env bash
# Expected: minijinja renders a Decimal as Jinja does: digit by digit. Other objects of Python, a
# date for instance, are rendered with their own str(), too.
# Seen: a Decimal becomes a float of 64 bits. 1.50 is rendered as 1.5, 10.00 as 10.0, the sum of 0.1
# and 0.2 has 17 digits, and large amounts lose their cents. In a list that is rendered whole, they
# keep their digits.
# It matters for invoices and e-mails with prices, for which programs use Decimal: a template moved
# from Jinja shows 1.5 in place of 1.50, and sums that don't agree with those of the database.
# minijinja 3.1.0, beside jinja2 3.1.6; the README in the package's METADATA, which doesn't mention
# decimals
set -eu

folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
PATH="$folder/venv/bin:$PATH"
pip install --quiet --disable-pip-version-check 'minijinja==3.1.0' 'jinja2==3.1.6'
python --version
pip freeze

cat >program.py <<'EOF'
import sys
from decimal import Decimal

import jinja2
import minijinja

TEMPLATE = "{{ price }} | {{ a + b }} | {{ total }}"
VALUES = {
    "price": Decimal("1.50"),
    "a": Decimal("0.1"),
    "b": Decimal("0.2"),
    "total": Decimal("12345678901234567.89"),
}
seen = {
    "jinja2": jinja2.Template(TEMPLATE).render(VALUES),
    "minijinja": minijinja.Environment().render_str(TEMPLATE, **VALUES),
}
print(TEMPLATE, *(f"{name}: {text}" for name, text in seen.items()), sep="\n")
print("a list:", minijinja.Environment().render_str("{{ prices }}", prices=[VALUES["price"]]))
if seen != {
    "jinja2": "1.50 | 0.3 | 12345678901234567.89",
    "minijinja": "1.5 | 0.30000000000000004 | 12345678901234568.0",
}:
    sys.exit("The behaviour has changed.")
EOF
python program.py
