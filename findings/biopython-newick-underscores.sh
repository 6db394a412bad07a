#!/usr/bin/env bash
# Expected: a tree in Newick format that Bio.Phylo reads and writes has the same names and lengths.
# Seen: a label in quotes that contains an underscore is written without quotes: 'A_1' becomes A_1,
# which the format defines as A 1, and which DendroPy reads so. Labels with spaces or colons keep
# their quotes. Lengths have eight digits, so 123456.789012 becomes 123456.79, and a support of 95
# becomes 95.00. DendroPy writes what it has read.
# It matters for trees whose labels are keys of a table, such as NC_000913: after the tree has been
# rooted or pruned with Bio.Phylo, another program finds no key.
# biopython 1.88, beside DendroPy 5.1.3; Writer in the package's Bio/Phylo/NewickIO.py;
# https://phylipweb.github.io/phylip/newicktree.html
set -eu

folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
PATH="$folder/venv/bin:$PATH"
pip install --quiet --disable-pip-version-check 'biopython==1.88' 'dendropy==5.1.3'
python --version
pip freeze

cat >program.py <<'EOF'
import io
import sys

import dendropy
from Bio import Phylo

TREE = "(('A_1':123456.789012,'b c':1)95:1,'d:e':2);"
written = io.StringIO()
Phylo.write(Phylo.read(io.StringIO(TREE), "newick"), written, "newick")
texts = {
    "the tree": TREE,
    "Bio.Phylo": written.getvalue(),
    "DendroPy": dendropy.Tree.get(data=TREE, schema="newick").as_string("newick"),
}
seen = {}
for name, text in texts.items():
    tree = dendropy.Tree.get(data=text, schema="newick")
    seen[name] = [leaf.taxon.label for leaf in tree.leaf_node_iter()]
    print(f"{name}: {text.strip()} | labels {seen[name]}")
if seen != {
    "the tree": ["A_1", "b c", "d:e"],
    "Bio.Phylo": ["A 1", "b c", "d:e"],
    "DendroPy": ["A_1", "b c", "d:e"],
}:
    sys.exit("The behaviour has changed.")
if ":123456.79," not in texts["Bio.Phylo"] or ":123456.789012," not in texts["DendroPy"]:
    sys.exit("The lengths have changed.")
EOF
python program.py
