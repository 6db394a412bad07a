#!/usr/bin/env bash
# Expected: a payment that a bank in New York posts on 30 June has that date, or a time with
# its zone.
# Seen: ofxparse subtracts the offset of a DTPOSTED and drops the zone. A payment at 23:30 in New
# York becomes 04:30 on the next day, and looks like one that was written without a zone, which
# keeps its date. ofxtools reads the same text as a time in UTC, with its zone.
# It matters at the end of a month or a year: the last evening's payments are booked in the next
# one. ofxparse 0.21, beside ofxtools 1.1.1; Open Financial Exchange 2.2, section 3.2.8.2;
# https://github.com/jseutter/ofxparse/blob/master/ofxparse/ofxparse.py
set -eu

folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
PATH="$folder/venv/bin:$PATH"
pip install --quiet --disable-pip-version-check 'ofxparse==0.21' 'ofxtools==1.1.1'
python --version
pip freeze

cat >program.py <<'EOF'
import io
import sys

from ofxparse import OfxParser
from ofxtools.Types import DateTime

TIMES = "20260630233000[-5:EST]", "20260630233000", "20260630"
TRANSACTION = "<STMTTRN><TRNTYPE>DEBIT<DTPOSTED>{}<TRNAMT>-10.00<FITID>{}<NAME>Pies</STMTTRN>"
STATEMENT = """OFXHEADER:100
DATA:OFXSGML
VERSION:102
SECURITY:NONE
ENCODING:USASCII
CHARSET:1252
COMPRESSION:NONE
OLDFILEUID:NONE
NEWFILEUID:NONE

<OFX><BANKMSGSRSV1><STMTTRNRS><TRNUID>1<STATUS><CODE>0<SEVERITY>INFO</STATUS><STMTRS>
<CURDEF>USD<BANKACCTFROM><BANKID>1<ACCTID>2<ACCTTYPE>CHECKING</BANKACCTFROM>
<BANKTRANLIST><DTSTART>20260601<DTEND>20260630%s</BANKTRANLIST>
<LEDGERBAL><BALAMT>5.00<DTASOF>20260630</LEDGERBAL></STMTRS></STMTTRNRS></BANKMSGSRSV1></OFX>"""

text = STATEMENT % "".join(TRANSACTION.format(time, i) for i, time in enumerate(TIMES))
parsed = OfxParser.parse(io.BytesIO(text.encode()))
dates = [str(one.date) for one in parsed.account.statement.transactions]
for time, date in zip(TIMES, dates):
    print(time, "| ofxparse:", date, "| ofxtools:", DateTime().convert(time))
if dates != ["2026-07-01 04:30:00", "2026-06-30 23:30:00", "2026-06-30 00:00:00"]:
    sys.exit("The behaviour has changed.")
EOF
python program.py
