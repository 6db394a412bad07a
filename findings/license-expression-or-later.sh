#!/usr/bin/env bash
# Expected: in an SPDX expression, each identifier may have a plus ("this version or any later"),
# and LicenseRef- begins an identifier of one's own. A validator accepts Apache-2.0+ and
# LicenseRef-Pies.
# Seen: license-expression has "Unknown license key(s)" for both, also for EUPL-1.2+, CDDL-1.0+ and
# LPPL-1.3c+. GPL-2.0+ is valid, because it is the old name of another identifier. With an exception
# of one's own, AdditionRef-, it is the same.
# It matters for checks of packages' metadata: valid expressions are refused.
# license-expression 30.4.4; https://spdx.github.io/spdx-spec/v2.3/SPDX-license-expressions/
set -eu

folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
PATH="$folder/venv/bin:$PATH"
pip install --quiet --disable-pip-version-check 'license-expression==30.4.4'
python --version
pip freeze

cat >program.py <<'EOF'
import sys

from license_expression import get_spdx_licensing

EXPECTED = {
    "GPL-2.0+": [],
    "Apache-2.0": [],
    "Apache-2.0+": ["Unknown license key(s): Apache-2.0+"],
    "EUPL-1.2+ OR MIT": ["Unknown license key(s): EUPL-1.2+"],
    "LicenseRef-Pies": ["Unknown license key(s): LicenseRef-Pies"],
}
licensing = get_spdx_licensing()
seen = {text: licensing.validate(text).errors for text in EXPECTED}
for text, errors in seen.items():
    print(text, "|", errors or "valid")
if seen != EXPECTED:
    sys.exit("The behaviour has changed.")
EOF
python program.py
