#!/usr/bin/env bash
# Expected: the order of the packages on pip's command line changes nothing. Two folders, of which
# one requires the other, are installed by "pip install ./top ./base", and by the same with an extra
# of the other, "pip install ./top './base[more]'".
# Seen: with the extra, pip looks for the other package in the index, which doesn't have it, and
# ends: "Could not find a version that satisfies the requirement". The other order works, and so
# does this order without the extra.
# It matters for repositories with several packages: a command works for years, and ends on the day
# on which somebody adds an extra. This pip comes with Python 3.11; pip 26.0 installs both orders.
# pip 23.2.1; https://pip.pypa.io/en/stable/topics/dependency-resolution/
set -eu

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
PATH="$folder/venv/bin:$PATH"
pip install --quiet --disable-pip-version-check 'pip==23.2.1' 'hatchling==1.27.0'
python --version
pip --version | cut -d ' ' -f 1,2

package() {
    mkdir -p "$1/$2"
    touch "$1/$2/__init__.py"
    cat >"$1/pyproject.toml" <<EOF
[build-system]
requires = ["hatchling==1.27.0"]
build-backend = "hatchling.build"
[project]
name = "$2"
version = "1.0"
dependencies = [$3]
[project.optional-dependencies]
more = []
EOF
}
package base orderly_base ''
package top orderly_top '"orderly_base==1.0"'

installs() {
    if pip install --quiet --disable-pip-version-check --dry-run --no-build-isolation --no-index \
        "$@" 2>error; then
        echo "pip install $*: installed"
    else
        echo "pip install $*: $(grep --max-count=1 ERROR error)"
        return 1
    fi
}
seen=""
for order in './base[more] ./top' './top ./base' './top ./base[more]'; do
    # shellcheck disable=SC2086 # two arguments
    if installs $order; then seen="$seen installed"; else seen="$seen refused"; fi
done
if [ "$seen" != " installed installed refused" ]; then
    echo "The behaviour has changed."
    exit 1
fi
