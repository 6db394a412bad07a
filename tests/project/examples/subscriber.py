"""A worker with subscriptions through Redis, which a test steers: it reads commands from its input,
and writes what happens to its output.
"""

from __future__ import annotations

import os
import sys
import threading

from micropie.channels import RedisChannels

channels = RedisChannels(sys.argv[1])


def say(*words: object) -> None:
    os.write(1, (" ".join(map(str, words)) + "\n").encode())  # one write, as there are threads


def listen(label: str) -> None:
    with channels.subscribe("room", size=1000, label=label) as messages:
        say("joined", label)
        for message in messages:
            say("got", label, message)


for label in sys.argv[2:]:
    threading.Thread(target=listen, args=[label], daemon=True).start()
for line in sys.stdin:
    command, *numbers = line.split()
    if command == "labels":
        found = channels.subscriptions().get("room", [])
        say("labels", *sorted(one.label for one in found))
    elif command == "gaps":
        say("gaps", *(one.gaps for one in channels.subscriptions()["room"]))
    for number in numbers:
        try:
            channels.publish("room", int(number))
            say("published", number)
        except ConnectionError:
            say("refused", number)
