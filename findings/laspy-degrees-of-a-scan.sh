#!/usr/bin/env bash
# Expected: coordinates that are written to a point cloud come back with the digits that a new file
# can store, or the program has to choose a scale first.
# Seen: a file that laspy creates has a scale of 0.01 for all axes, whatever is assigned. The
# longitude 13.404954 becomes 13.4, and the latitude 52.520008 becomes 52.52, up to half a kilometre
# off. The points round already when they are assigned. There is no warning.
# It matters for scans in degrees: a street becomes a few points. With metres, where most examples
# are, a centimetre is lost, so a test passes.
# laspy 2.7.0; https://laspy.readthedocs.io/en/latest/examples.html;
# https://www.asprs.org/wp-content/uploads/2019/07/LAS_1_4_r15.pdf
set -eu

folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
PATH="$folder/venv/bin:$PATH"
pip install --quiet --disable-pip-version-check 'laspy==2.7.0' 'numpy==2.4.6'
python --version
pip freeze

cat >program.py <<'EOF'
import io
import sys

import laspy
import numpy

LONGITUDES, LATITUDES = [13.404954, 13.404123], [52.520008, 52.517036]


def written(scales=None):
    header = laspy.LasHeader()
    if scales:
        header.scales = numpy.array(scales)
    cloud = laspy.LasData(header)
    cloud.x, cloud.y, cloud.z = LONGITUDES, LATITUDES, [34.12, 35.5]
    file = io.BytesIO()
    cloud.write(file)
    file.seek(0)
    read = laspy.read(file)
    return [round(float(x), 7) for x in read.x], [round(float(y), 7) for y in read.y]


default, chosen = written(), written([1e-7, 1e-7, 0.001])
print("points:", LONGITUDES, LATITUDES)
print("written and read:", *default)
print("with another scale:", *chosen)
if default != ([13.4, 13.4], [52.52, 52.52]) or chosen != (LONGITUDES, LATITUDES):
    sys.exit("The behaviour has changed.")
EOF
python program.py
