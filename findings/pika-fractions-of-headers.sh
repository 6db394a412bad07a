#!/usr/bin/env bash
# Expected: a number in the headers of an AMQP message is the same number for the consumer,
# whichever library reads it.
# Seen: kombu's library amqp sends a float as a double, and pamqp, on which aio-pika is built, as a
# float with 32 bits. pika reads both as integers: 0.1 is 0, 2.5 is 2, without a warning. It can't
# send a float itself. With pamqp on the other side, 0.1 arrives as 0.10000000149011612 or 0.
# It matters for headers such as a price, a rate or a position, when producers and consumers use
# different libraries: the fraction is lost, whole numbers are right.
# pika 1.4.4, amqp 5.4.2, pamqp 4.0.1; https://www.rabbitmq.com/amqp-0-9-1-errata#section_3
set -eu

folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
PATH="$folder/venv/bin:$PATH"
pip install --quiet --disable-pip-version-check 'pika==1.4.4' 'amqp==5.4.2' 'pamqp==4.0.1'
python --version
pip freeze

cat >program.py <<'EOF'
import sys

import pamqp.decode
import pamqp.encode
import pika.data
import pika.exceptions
from amqp import serialization

NUMBERS = [0.1, 2.5, 3.0]
WRITERS = {
    "amqp": lambda table: serialization.dumps("F", (table,)),
    "pamqp": pamqp.encode.field_table,
}
READERS = {
    "amqp": lambda data: serialization.loads("F", data, 0)[0][0],
    "pamqp": lambda data: pamqp.decode.field_table(data)[1],
    "pika": lambda data: pika.data.decode_table(data, 0)[0],
}
seen = {}
for writer, write in WRITERS.items():
    data = write({"prices": NUMBERS})
    for reader, read in READERS.items():
        seen[writer, reader] = [repr(number) for number in read(data)["prices"]]
        print(f"{NUMBERS}, written by {writer}, read by {reader}: {seen[writer, reader]}")
try:
    pika.data.encode_table([], {"price": 0.1})
    written = True
except pika.exceptions.UnsupportedAMQPFieldException:
    written = False
print("pika writes floats:", written)
rounded = ["0.10000000149011612", "2.5", "3.0"]
if written or seen != {
    ("amqp", "amqp"): ["0.1", "2.5", "3.0"],
    ("amqp", "pamqp"): ["0.1", "2.5", "3.0"],
    ("amqp", "pika"): ["0L", "2L", "3L"],
    ("pamqp", "amqp"): rounded,
    ("pamqp", "pamqp"): rounded,
    ("pamqp", "pika"): ["0L", "2L", "3L"],
}:
    sys.exit("The behaviour has changed.")
EOF
python program.py
