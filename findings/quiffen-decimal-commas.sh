#!/usr/bin/env bash
# Expected: quiffen reads the amounts of a QIF file from a German or French bank, 12,50 and
# 1.234,56, or raises an exception.
# Seen: it removes each comma: 12,50 becomes 1250, a hundred times as much, and 1.234,56 becomes
# 1.23456. Neither a warning nor an exception follows, and parse() has an option for the order of
# day and month, but none for this. 1,234.56 is right.
# It matters for accounts: QIF has no field for the language, banks write it as their country does,
# and one file mixes amounts that are too large with amounts that are too small.
# quiffen 4.0.1; the package's quiffen/core/transaction.py;
# https://en.wikipedia.org/wiki/Quicken_Interchange_Format
set -eu

folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
PATH="$folder/venv/bin:$PATH"
pip install --quiet --disable-pip-version-check 'quiffen==4.0.1'
python --version
pip freeze

cat >program.py <<'EOF'
import pathlib
import sys

from quiffen import Qif

EXPECTED = {"1,234.56": "1234.56", "12,50": "1250", "-1.234,56": "-1.23456", "0,99": "99"}
seen = {}
for amount in EXPECTED:
    pathlib.Path("bank.qif").write_text(f"!Type:Bank\nD2024-06-05\nT{amount}\nPBakery\n^\n")
    (account,) = Qif.parse("bank.qif").accounts.values()
    ((transaction,),) = account.transactions.values()
    seen[amount] = str(transaction.amount)
    print(f"{amount}: {transaction.amount}")
if seen != {**EXPECTED, "0,99": seen["0,99"]} or float(seen["0,99"]) != 99:
    sys.exit("The behaviour has changed.")
EOF
python program.py
