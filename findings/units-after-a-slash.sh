#!/usr/bin/env bash
# Expected: two libraries of units read "J/kg K", the unit of heat capacities in many tables, alike,
# or refuse it because it is ambiguous.
# Seen: astropy divides by everything behind the slash, J/(kg K). pint goes from left to right, as
# Python's operators do, so the kelvin is in the numerator. Neither warns. Both agree on "J/kg/K"
# and "J/(kg K)".
# It matters where the header of a table passes from one to the other: a heat capacity times two
# kilograms and three kelvins is an energy for one only.
# pint 0.25.3, astropy 8.0.2; p_division_product_of_units in the package's
# astropy/units/format/generic.py
set -eu

folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
PATH="$folder/venv/bin:$PATH"
pip install --quiet --disable-pip-version-check 'pint==0.25.3' 'astropy==8.0.2'
python --version
pip freeze

cat >program.py <<'EOF'
import sys

import astropy.units
import pint

registry = pint.UnitRegistry()
seen = {"astropy": [], "pint": []}
for text in ("J/kg/K", "J/kg K"):
    unit = astropy.units.Unit(text)
    heat = unit * astropy.units.kg * astropy.units.K
    powers = dict(zip(map(str, heat.decompose().bases), heat.decompose().powers, strict=True))
    seen["astropy"].append(powers.get("K", 0))
    other = registry(text)
    heat = other * registry.kilogram * registry.kelvin
    seen["pint"].append(heat.dimensionality.get("[temperature]", 0))
    print(f"{text}: astropy {unit.to_string()}; pint {other.units}")
print("power of the temperature in a heat capacity times a mass and a temperature:", seen)
if seen != {"astropy": [0, 0], "pint": [0, 2]}:
    sys.exit("The behaviour has changed.")
EOF
python program.py
