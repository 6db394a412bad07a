#!/usr/bin/env bash
# Expected: a qualifier that Biopython writes to a GenBank file is the same when Biopython reads it.
# Seen: a long word, for example of 66 letters, has a space in it afterwards. The writer breaks the
# word at the end of the line, as the format requires, and the reader joins the lines with a space.
# The qualifier "translation" is the exception, it is joined without one.
# It matters for addresses of web pages, names of chemicals, and sequences of primers and peptides
# in notes: the address is invalid and the sequence has a gap, and each tool that copies features
# from one record to another does it.
# biopython 1.88; https://www.insdc.org/submitting-standards/feature-table/;
# https://github.com/biopython/biopython/blob/master/Bio/SeqIO/InsdcIO.py, _write_feature_qualifier
set -eu

folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
PATH="$folder/venv/bin:$PATH"
pip install --quiet --disable-pip-version-check 'biopython==1.88' 'numpy==2.4.6'
python --version
pip freeze

cat >program.py <<'EOF'
import io
import sys

from Bio import SeqIO
from Bio.Seq import Seq
from Bio.SeqFeature import SeqFeature, SimpleLocation
from Bio.SeqRecord import SeqRecord

PEPTIDE = "MKTAYIAKQRQISFVKSHFSRQLEERLGLIEVQAPILSRVGDGTQDNLSGAEKAVQVKVKALPDAQ"
VALUES = {
    "product": PEPTIDE[:20],
    "note": PEPTIDE,
    "inference": "https://example.com/records/2024/03/30/pies?with=apples&and=cinnamon&and=sugar",
    "translation": PEPTIDE,
}

record = SeqRecord(Seq("ATG" * 66), id="A1", annotations={"molecule_type": "DNA"})
qualifiers = {name: [value] for name, value in VALUES.items()}
record.features = [SeqFeature(SimpleLocation(0, 198), type="CDS", qualifiers=qualifiers)]
file = io.StringIO()
SeqIO.write(record, file, "genbank")
text = file.getvalue()
print(text.partition("FEATURES")[2].partition("ORIGIN")[0])
file.seek(0)
read = SeqIO.read(file, "genbank").features[0].qualifiers
seen = {}
for name, value in VALUES.items():
    (result,) = read[name]
    seen[name] = "the same" if result == value else f"{result.count(' ')} more space"
    print(f"{name}: {result} ({seen[name]})")
    assert result.replace(" ", "") == value
if seen != {
    "product": "the same",
    "note": "1 more space",
    "inference": "1 more space",
    "translation": "the same",
}:
    sys.exit("The behaviour has changed.")
EOF
python program.py
