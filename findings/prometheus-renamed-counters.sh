#!/usr/bin/env bash
# Expected: a program that reads metrics with prometheus_client's parser, and writes them with
# generate_latest, for example to filter them, keeps their names.
# Seen: a counter without the suffix `_total` gets one: `pies_sold` becomes `pies_sold_total`. The
# text format permits any name. OpenMetrics demands the suffix, but the parser is that of the text
# format. A gauge keeps its name.
# It matters because many exporters name their counters without the suffix: behind such a filter
# the queries, alerts and dashboards find nothing, without an error.
# prometheus-client 0.26.0;
# https://prometheus.io/docs/instrumenting/exposition_formats/#text-based-format;
# https://github.com/prometheus/client_python/blob/master/prometheus_client/parser.py
set -eu

folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
PATH="$folder/venv/bin:$PATH"
pip install --quiet --disable-pip-version-check 'prometheus-client==0.26.0'
python --version
pip freeze

cat >program.py <<'EOF'
import sys

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

METRICS = """\
# HELP pies_sold Pies sold.
# TYPE pies_sold counter
pies_sold{kind="apple"} 5.0
# HELP pies_baked_total Pies baked.
# TYPE pies_baked_total counter
pies_baked_total 8.0
# HELP pies_warm Warm pies.
# TYPE pies_warm gauge
pies_warm 3.0
"""


class Filter:
    def collect(self):
        return text_string_to_metric_families(METRICS)


registry = CollectorRegistry()
registry.register(Filter())
written = generate_latest(registry).decode()
print(METRICS, written, sep="\n")
if written != METRICS.replace("pies_sold", "pies_sold_total"):
    sys.exit("The behaviour has changed.")
EOF
python program.py
