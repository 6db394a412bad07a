#!/usr/bin/env bash
# Expected: an OBJ file with one face of four corners has the area of that face, whichever corner is
# first.
# Seen: trimesh cuts faces into triangles from the first corner on, also if the face isn't convex.
# An arrowhead with the area 6 has the area 6 or 10, depending on the first corner. No warning
# follows.
# It matters for costs and printing: floor plans and plates have concave faces, the area is too
# large by any factor, and triangles outside of the plate are part of the mesh.
# trimesh 5.2.0, numpy 2.4.6; triangulate_quads in the package's trimesh/geometry.py
set -eu

folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
PATH="$folder/venv/bin:$PATH"
pip install --quiet --disable-pip-version-check 'trimesh==5.2.0' 'numpy==2.4.6'
python --version
pip freeze

cat >program.py <<'EOF'
import io
import sys

import trimesh

ARROW = ["0 0", "2 1", "4 0", "2 4"]
seen = []
for first in range(len(ARROW)):
    corners = ARROW[first:] + ARROW[:first]
    text = "".join(f"v {corner} 0\n" for corner in corners) + "f 1 2 3 4\n"
    mesh = trimesh.load(io.StringIO(text), file_type="obj")
    seen.append(round(float(mesh.area), 6))
    print("first corner:", corners[0], "area:", seen[-1])
EXPECTED = [10.0, 6.0, 10.0, 6.0]
if seen != EXPECTED:
    sys.exit("The behaviour has changed.")
EOF
python program.py
