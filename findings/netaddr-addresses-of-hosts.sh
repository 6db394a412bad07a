#!/usr/bin/env bash
# Expected: IPNetwork("10.0.0.1/24") and IPNetwork("10.0.0.2/24") differ: both keep the address of
# the host, and are printed with it.
# Seen: they are equal and have the same hash, because netaddr compares the networks' first and last
# addresses. A set or a dict keeps one of them. `ipaddress.ip_interface` tells them apart.
# It matters for inventories: the addresses of three hosts in one network, read from a
# configuration, become one, and `interface in known` is true for an address that nobody has
# configured.
# netaddr 1.3.0; IPNetwork.key in the package's netaddr/ip/__init__.py
set -eu

folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
PATH="$folder/venv/bin:$PATH"
pip install --quiet --disable-pip-version-check 'netaddr==1.3.0'
python --version
pip freeze

cat >program.py <<'EOF'
import ipaddress
import sys

from netaddr import IPNetwork

HOSTS = ["10.0.0.1/24", "10.0.0.2/24", "10.0.0.3/24"]
networks = [IPNetwork(host) for host in HOSTS]
interfaces = [ipaddress.ip_interface(host) for host in HOSTS]
seen = {
    "printed": [str(network) for network in networks],
    "equal": networks[0] == networks[1],
    "in a set": len({*networks}),
    "10.0.0.77/24 is known": IPNetwork("10.0.0.77/24") in networks,
    "ipaddress, in a set": len({*interfaces}),
}
EXPECTED = {
    "printed": HOSTS,
    "equal": True,
    "in a set": 1,
    "10.0.0.77/24 is known": True,
    "ipaddress, in a set": 3,
}
print(*seen.items(), sep="\n")
if seen != EXPECTED:
    sys.exit("The behaviour has changed.")
EOF
python program.py
