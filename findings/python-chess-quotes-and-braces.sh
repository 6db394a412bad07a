#!/usr/bin/env bash
# Expected: in the headers of a PGN, \" stands for a quotation mark and \\ for a backslash, so the
# player "Ann \"Bee\" Cole" is Ann "Bee" Cole, and is written with backslashes again.
# Seen: python-chess keeps the backslashes when it reads, and writes none: a header that was set to
# Ann "Bee" Cole becomes [White "Ann "Bee" Cole"], which the grammar of PGN doesn't allow, although
# python-chess itself reads it. Of a comment, a closing brace is dropped.
# It matters for databases of games: a search for the player's name finds nothing, and other
# programs refuse the file or cut the name at its second quotation mark.
# chess 1.11.2; TAG_REGEX and StringExporterMixin in the package's chess/pgn.py;
# https://www.saremba.de/chessgml/standards/pgn/pgn-complete.htm#c7
set -eu

folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
PATH="$folder/venv/bin:$PATH"
pip install --quiet --disable-pip-version-check 'chess==1.11.2'
python --version
pip freeze

cat >program.py <<'EOF'
import io
import sys

import chess.pgn

text = '[White "Ann \\"Bee\\" Cole"]\n[Site "a\\\\b"]\n\n*\n'
game = chess.pgn.read_game(io.StringIO(text))
seen = [game.headers["White"], game.headers["Site"]]
print(text, seen)
game = chess.pgn.Game()
game.headers["White"] = 'Ann "Bee" Cole'
game.add_variation(chess.Move.from_uci("e2e4")).comment = "one of {e4, d4} wins"
written = str(game)
seen += [line for line in written.splitlines() if "White" in line or line.startswith("1.")]
print(written)
if seen != [
    r"Ann \"Bee\" Cole",
    r"a\\b",
    '[White "Ann "Bee" Cole"]',
    "1. e4 { one of {e4, d4 wins } *",
]:
    sys.exit("The behaviour has changed.")
EOF
python program.py
