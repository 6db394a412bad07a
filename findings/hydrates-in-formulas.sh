#!/usr/bin/env bash
# Expected: a reader of chemical formulas knows CuSO4.5H2O, blue vitriol, with the dot that
# suppliers write where a raised dot can't be typed: one copper sulphate and five waters, 249.7
# g/mol. Otherwise it raises an exception.
# Seen: only molmass does. For periodictable and chemparse, .5 belongs to the O4 before it: Cu S
# O5.5 H2, 185.6 g/mol. chemformula removes the dot, so O4.5 is 45 oxygens, 833.6 g/mol. With a
# raised dot, molmass and periodictable raise an exception, and chemparse silently leaves out the
# water.
# It matters to whoever weighs substances or imports a list of chemicals: a solution of copper
# sulphate is a third too strong or too weak.
# molmass 2026.1.8, periodictable 2.1.0, chemparse 0.3.2, chemformula 1.5.1; ChemFormula's
# _clean_up_formula in the package's chemformula/chemformula.py
set -eu

folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
PATH="$folder/venv/bin:$PATH"
pip install --quiet --disable-pip-version-check \
    'molmass==2026.1.8' 'periodictable==2.1.0' 'chemparse==0.3.2' 'chemformula==1.5.1'
python --version
pip freeze

cat >program.py <<'EOF'
import sys

import chemformula
import chemparse
import molmass
import periodictable

FORMULA = "CuSO4.5H2O"
parts = chemparse.parse_formula(FORMULA)
seen = {
    "molmass": round(molmass.Formula(FORMULA).mass, 1),
    "periodictable": round(periodictable.formula(FORMULA).mass, 1),
    "chemformula": round(chemformula.ChemFormula(FORMULA).formula_weight, 1),
    "chemparse": parts,
    "chemparse, raised dot": chemparse.parse_formula("CuSO4·5H2O"),
}
print(FORMULA)
print(*(f"{name}: {result}" for name, result in seen.items()), sep="\n")
if seen != {
    "molmass": 249.7,
    "periodictable": 185.6,
    "chemformula": 833.6,
    "chemparse": {"Cu": 1, "S": 1, "O": 5.5, "H": 2},
    "chemparse, raised dot": {"Cu": 1, "S": 1, "O": 4},
}:
    sys.exit("The behaviour has changed.")
EOF
python program.py
