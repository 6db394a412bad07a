#!/usr/bin/env bash
# Expected: the BICs DEUTDEFF and DEUTDEFFXXX are equal, because the standard says that XXX stands
# for the head office, and may be left out.
# Seen: schwifty reports that both are valid, with the same bank, country and location, but they
# aren't equal and are two entries of a set. The attribute `exists` is False for the short one.
# compact() of python-stdnum leaves both as they are, too. IBANs with and without spaces are equal
# if both are IBAN objects, but an IBAN isn't equal to the text that it was made of.
# It matters for payments and for lists of banks, where files from two sources have both forms: a
# join or a check against a list finds nothing.
# schwifty 2026.10.1, python-stdnum 2.2; Base.__eq__ in the package's schwifty/common.py;
# https://www.iso.org/standard/84108.html
set -eu

folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
PATH="$folder/venv/bin:$PATH"
pip install --quiet --disable-pip-version-check 'schwifty==2026.10.1' 'python-stdnum==2.2'
python --version
pip freeze

cat >program.py <<'EOF'
import sys

from schwifty import BIC, IBAN
from stdnum import bic

short, long = BIC("DEUTDEFF"), BIC("DEUTDEFFXXX")
same = [
    (getattr(short, name), getattr(long, name))
    for name in ("is_valid", "bank_code", "country_code", "location_code")
]
print(short, long, same, short.branch_code, long.branch_code)
text = "DE89 3704 0044 0532 0130 00"
seen = {
    "BICs": short == long,
    "BICs in a set": len({short, long}) == 1,
    "the short one exists": short.exists,
    "the long one does not": not long.exists,
    "python-stdnum": bic.compact("DEUTDEFF") == bic.compact("DEUTDEFFXXX"),
    "IBANs": IBAN(text) == IBAN(text.replace(" ", "")),
    "an IBAN and its text": IBAN(text) == text,
}
print(seen, "the BIC of the IBAN:", IBAN(text).bic)
if not bic.is_valid("DEUTDEFF") or not bic.is_valid("DEUTDEFFXXX"):
    sys.exit("A BIC is invalid now.")
if [*seen.values()] != [False] * 5 + [True, False] or any(a != b for a, b in same):
    sys.exit("The behaviour has changed.")
EOF
python program.py
