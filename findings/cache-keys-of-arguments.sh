#!/usr/bin/env bash
# Expected: a decorator that caches the results of a function returns a result only for the same
# arguments, as functools.lru_cache does.
# Seen: dogpile.cache joins the arguments with spaces, so "a b", "c" gets the result of "a", "b c",
# and 1 gets the one of "1". cashews makes text of arguments, too: None gets the result of "", 1 the
# one of "1", b"pie" the one of "pie", and the list [1, 2] the one of "1:2". Neither an exception
# nor a warning follows.
# It matters for functions of two texts, such as a search for words in a town, and where None and ""
# have different meanings: users get what somebody else asked for, until the entry expires.
# dogpile.cache 1.5.0, cashews 7.6.0, beside functools;
# https://github.com/sqlalchemy/dogpile.cache/blob/main/dogpile/cache/util.py,
# function_key_generator; https://github.com/Krukov/cashews/blob/master/cashews/formatter.py
set -eu

folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
PATH="$folder/venv/bin:$PATH"
pip install --quiet --disable-pip-version-check 'dogpile.cache==1.5.0' 'cashews==7.6.0'
python --version
pip freeze

cat >program.py <<'EOF'
import asyncio
import functools
import sys

from cashews import Cache
from dogpile.cache import make_region

PAIRS = [
    [("a", "b c"), ("a b", "c")],
    [("1", None), (1, None)],
    [("", None), (None, None)],
    [("pie", None), (b"pie", None)],
    [("1:2", None), ([1, 2], None)],
]


def by_dogpile(pair):
    region = make_region().configure("dogpile.cache.memory")

    @region.cache_on_arguments()
    def search(words, town):
        return words, town

    return [search(*arguments) for arguments in pair]


async def by_cashews(pair):
    cache = Cache()
    cache.setup("mem://")

    @cache(ttl="1h")
    async def search(words, town):
        return words, town

    results = [await search(*arguments) for arguments in pair]
    await cache.close()
    return results


def by_functools(pair):
    @functools.lru_cache
    def search(words, town):
        return words, town

    return [search(*arguments) for arguments in pair]


seen = {"dogpile.cache": [], "cashews": [], "functools": []}
for pair in PAIRS:
    print(f"search{pair[0]}, then search{pair[1]}")
    for name, cached in (
        ("dogpile.cache", by_dogpile),
        ("cashews", lambda pair: asyncio.run(by_cashews(pair))),
        ("functools", by_functools),
    ):
        if isinstance(pair[1][0], list) and name == "functools":
            continue  # lists have no hash
        results = cached(pair)
        print(f"  {name}: {results[1]}")
        if results[0] != pair[0]:
            sys.exit("The behaviour has changed.")
        seen[name].append(results[1] == pair[1])
if seen != {
    "dogpile.cache": [False, False, True, True, True],
    "cashews": [True, False, False, False, False],
    "functools": [True, True, True, True],
}:
    sys.exit("The behaviour has changed.")
EOF
python program.py
