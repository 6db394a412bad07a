#!/usr/bin/env bash
# Expected: the data of an OCPP 2.0.1 DataTransfer reaches the other side as it was sent, because
# vendors define its content (OCPP's schema allows any JSON value).
# Seen: the library renames keys inside of the data, at any depth, as it does with OCPP's own keys.
# It sends "battery_level" as "batteryLevel". The received keys "V2G" and "deviceID" become "_v2g"
# and "device_id", and of the two keys "serialNo" and "serial_no" one is lost.
# It matters because the two sides are mostly by different vendors: one gets keys that nobody
# defined, values disappear, and neither side reports an error.
# ocpp 2.1.0; https://github.com/mobilityhouse/ocpp/issues/644
set -eu

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
PATH="$folder/venv/bin:$PATH"
pip install --quiet --disable-pip-version-check 'ocpp==2.1.0'
python --version
pip freeze

cat >program.py <<'EOF'
import asyncio
import json
import sys

from ocpp.routing import on
from ocpp.v201 import ChargePoint, call, call_result


class Connection:
    """One end of a connection in memory, with the methods of a WebSocket."""

    def __init__(self):
        self.incoming, self.sent = asyncio.Queue(), []

    async def recv(self):
        return await self.incoming.get()

    async def send(self, message):
        self.sent.append(json.loads(message))


class Station(ChargePoint):
    @on("DataTransfer")
    def on_data_transfer(self, vendor_id, data, **_):
        self.received = data
        return call_result.DataTransfer(status="Accepted")


async def main():
    connection = Connection()
    station = Station("station", connection)
    running = asyncio.create_task(station.start())

    sending = asyncio.create_task(
        station.call(call.DataTransfer(vendor_id="pies", data={"battery_level": 80}))
    )
    while not connection.sent:
        await asyncio.sleep(0.01)
    _, number, _, request = connection.sent.pop()
    seen = [request["data"]]
    print("sent {'battery_level': 80} as", request["data"])
    await connection.incoming.put(json.dumps([3, number, {"status": "Accepted"}]))
    await sending

    data = {"V2G": True, "deviceID": 7, "serial_no": "A", "serialNo": "B"}
    request["data"] = data
    await connection.incoming.put(json.dumps([2, "1", "DataTransfer", request]))
    while not connection.sent:
        await asyncio.sleep(0.01)
    running.cancel()
    print("received", data)
    print("the handler gets", station.received)
    seen.append(station.received)
    if seen != [{"batteryLevel": 80}, {"_v2g": True, "device_id": 7, "serial_no": "B"}]:
        sys.exit("The behaviour has changed.")


asyncio.run(main())
EOF
python program.py
