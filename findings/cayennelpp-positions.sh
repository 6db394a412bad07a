#!/usr/bin/env bash
# Expected: a position with four decimals, the resolution of the format, is the same after it was
# written and read.
# Seen: pycayennelpp multiplies by 10,000 and cuts off what follows the point. A product such as
# 470013.99999999994 becomes 470013, so nine of 100 latitudes between 47 and 48 degrees come back
# 0.0001 degrees, or 11 metres, nearer to the equator. Temperatures, which have one decimal, are
# right.
# It matters for trackers over LoRaWAN: a gateway that decodes a message and encodes it again moves
# things that stand still, and two devices at the same place are 11 metres apart. pycayennelpp
# 2.4.0; https://docs.mydevices.com/docs/lorawan/cayenne-lpp
# https://github.com/smlng/pycayennelpp/blob/main/cayennelpp/lpp_type.py
set -eu

folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
PATH="$folder/venv/bin:$PATH"
pip install --quiet --disable-pip-version-check 'pycayennelpp==2.4.0'
python --version
pip freeze

cat >program.py <<'EOF'
import sys

from cayennelpp import LppFrame


def latitude_read(latitude):
    frame = LppFrame()
    frame.add_gps(1, latitude, 8.5, 400.0)
    return LppFrame.from_bytes(bytes(frame)).data[0].value[0]


def temperature_read(degrees):
    frame = LppFrame()
    frame.add_temperature(1, degrees)
    return LppFrame.from_bytes(bytes(frame)).data[0].value[0]


latitudes = [number / 10_000 for number in range(470_000, 480_000)]
lost = [(one, latitude_read(one)) for one in latitudes if latitude_read(one) != one]
print(f"of {len(latitudes)} latitudes, {len(lost)} have changed, such as {lost[:3]}")
temperatures = [number / 10 for number in range(-500, 1000)]
changed = [one for one in temperatures if temperature_read(one) != one]
print(f"of {len(temperatures)} temperatures, {len(changed)} have changed")
if not 300 < len(lost) < 2000 or any(read >= one for one, read in lost) or changed:
    sys.exit("The behaviour has changed.")
EOF
python program.py
