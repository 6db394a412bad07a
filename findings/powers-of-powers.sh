#!/usr/bin/env bash
# Expected: 2 ^ 3 ^ 2 is 2 to the ninth, 512, as in mathematics, Python and JavaScript, in each
# library that computes expressions.
# Seen: it is 64 for py_expression_eval, which is based on expr-eval for JavaScript, where ^ is
# right-associative, and 2 ** 3 ** 2 is 64 for rule-engine, whose syntax is close to Python's.
# mathparse returns 512, but 4 for -2 ^ 2, which is -4 for the two others. In rule-engine, true
# equals no number, but it is in [1, 2].
# It matters for formulas that users write, and for those that move between a browser and a server:
# the result is a plausible number.
# py_expression_eval 0.3.14, rule-engine 5.1.0, mathparse 0.2.9;
# https://github.com/silentmatt/expr-eval; https://zerosteiner.github.io/rule-engine/syntax.html
set -eu

folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
PATH="$folder/venv/bin:$PATH"
pip install --quiet --disable-pip-version-check \
    'py_expression_eval==0.3.14' 'rule-engine==5.1.0' 'mathparse==0.2.9'
python --version
pip freeze

cat >program.py <<'EOF'
import sys

import mathparse.mathparse
import py_expression_eval
import rule_engine

LIBRARIES = {
    "py_expression_eval": lambda text: py_expression_eval.Parser().parse(text).evaluate({}),
    "rule-engine": lambda text: int(rule_engine.Rule(text.replace("^", "**")).evaluate({})),
    "mathparse": mathparse.mathparse.parse,
}
seen = {}
for name, compute in LIBRARIES.items():
    seen[name] = [compute(text) for text in ("2 ^ 3", "2 ^ 3 ^ 2", "-2 ^ 2")]
    print(f"{name}: 2 ^ 3, 2 ^ 3 ^ 2 and -2 ^ 2 are", *seen[name])
pie = {"sold": True}
rules = [rule_engine.Rule(text).matches(pie) for text in ("sold == 1", "sold in [1, 2]")]
print("rule-engine: true == 1 and true in [1, 2]:", *rules)
if rules != [False, True] or seen != {
    "py_expression_eval": [8, 64, -4],
    "rule-engine": [8, 64, -4],
    "mathparse": [8, 512, 4],
}:
    sys.exit("The behaviour has changed.")
EOF
python program.py
