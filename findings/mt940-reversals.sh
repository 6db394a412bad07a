#!/usr/bin/env bash
# Expected: in a bank statement, the amounts of the transactions lead from the opening to the
# closing balance, as the bank's do.
# Seen: mt-940 makes the amount of a D negative, and that of every other mark positive. RC, the
# reversal of a credit, takes money from the account, but has a positive amount.
# It matters for whoever books these amounts: a direct debit that a bank has taken back is income,
# and the difference is twice the amount. The option reversal_sign=True, off by default, repairs it.
# mt-940 5.1.1; SWIFT's MT940, field 61, subfield 3: RC is a debit, RD a credit;
# https://github.com/wolph/mt940/blob/develop/mt940/models.py
set -eu

folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
PATH="$folder/venv/bin:$PATH"
pip install --quiet --disable-pip-version-check 'mt-940==5.1.1'
python --version
pip freeze

cat >program.py <<'EOF'
import sys

import mt940

STATEMENT = """:20:STATEMENT
:25:10020030/1234567
:28C:1/1
:60F:C260101EUR100,00
:61:2601020102D30,00NTRFNONREF
:61:2601020102C20,00NTRFNONREF
:61:2601020102RC50,00NTRFNONREF
:61:2601020102RD30,00NTRFNONREF
:62F:C260102EUR70,00
"""

transactions = mt940.parse(STATEMENT)
amounts = [(one.data["status"], one.data["amount"].amount) for one in transactions]
opening = transactions.data["final_opening_balance"].amount.amount
closing = transactions.data["final_closing_balance"].amount.amount
total = opening + sum(amount for _, amount in amounts)
print(*(f"{mark}: {amount}" for mark, amount in amounts), sep="\n")
print("opening balance and transactions:", total, "| closing balance:", closing)
if total != 170 or closing != 70 or ("RC", 50) not in amounts or ("RD", 30) not in amounts:
    sys.exit("The behaviour has changed.")
EOF
python program.py
