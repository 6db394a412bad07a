#!/usr/bin/env bash
# Expected: paho calls the callback that was added for "$share/bakers/pies/#" when a message
# arrives for that subscription, as it does for "pies/#".
# Seen: it calls on_message. The callback's filter is compared with the topic of the message, which
# is pies/apple: a topic never has the "$share/bakers/" of the subscription. aiomqtt, which is
# built on paho, knows shared subscriptions. But for the topic $SYS/uptime, its Topic.matches
# returns True with "#" and with "+/uptime". MQTT excludes both, and so does paho.
# It matters for workers that share a queue: the subscription is acknowledged, the server delivers
# the messages to this worker alone, and it drops them silently if it has no on_message.
# paho-mqtt 2.2.0, aiomqtt 2.5.1; https://docs.oasis-open.org/mqtt/mqtt/v5.0/os/mqtt-v5.0-os.html,
# sections 4.7.2 (topics that begin with $) and 4.8.2 (shared subscriptions)
set -eu

folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
PATH="$folder/venv/bin:$PATH"
pip install --quiet --disable-pip-version-check 'paho-mqtt==2.2.0' 'aiomqtt==2.5.1'
python --version
pip freeze

cat >program.py <<'EOF'
import socket
import sys
import threading

from aiomqtt import Topic
from paho.mqtt.client import Client, topic_matches_sub
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion


def read_packet(connection):
    head = connection.recv(2, socket.MSG_WAITALL)
    return head[0] >> 4, connection.recv(head[1], socket.MSG_WAITALL)


def serve(listener):
    """Accept one client, acknowledge its subscription, and send one message."""
    connection, _ = listener.accept()
    with connection:
        read_packet(connection)  # CONNECT
        connection.sendall(b"\x20\x03\x00\x00\x00")
        _, subscribe = read_packet(connection)
        connection.sendall(b"\x90\x04" + subscribe[:2] + b"\x00\x00")
        topic = b"pies/apple"
        connection.sendall(bytes([0x30, len(topic) + 3, 0, len(topic)]) + topic + b"\x00")
        read_packet(connection)  # DISCONNECT


def called_for(subscription):
    """Return which callback paho calls for a message of this subscription."""
    done, called = threading.Event(), []

    def note(name):
        return lambda client, data, message: (called.append(name), done.set())

    client = Client(CallbackAPIVersion.VERSION2, protocol=MQTTProtocolVersion.MQTTv5)
    client.on_message = note("on_message")
    client.message_callback_add(subscription, note("callback"))
    client.on_connect = lambda *args: client.subscribe(subscription)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = threading.Thread(target=serve, args=(listener,))
        server.start()
        client.connect("127.0.0.1", listener.getsockname()[1])
        client.loop_start()
        done.wait(30)
        client.disconnect()
        client.loop_stop()
        server.join(30)
    return called


seen = {name: called_for(name) for name in ("pies/#", "$share/bakers/pies/#")}
print("paho calls", seen)
matches = {}
for name, topic in (
    ("$share/bakers/pies/#", "pies/apple"),
    ("#", "$SYS/uptime"),
    ("+/uptime", "$SYS/uptime"),
):
    by_paho, by_aiomqtt = topic_matches_sub(name, topic), Topic(topic).matches(name)
    print(f"{name} matches {topic}: paho {by_paho}, aiomqtt {by_aiomqtt}")
    matches[name, topic] = by_paho, by_aiomqtt
if seen != {"pies/#": ["callback"], "$share/bakers/pies/#": ["on_message"]} or set(
    matches.values()
) != {(False, True)}:
    sys.exit("The behaviour has changed.")
EOF
python program.py
