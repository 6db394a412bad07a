#!/usr/bin/env bash
# Expected: one late response of a Modbus device delays one read. The client sends the request again
# (retries=3 by default), and discards the second response, because no request waits for it.
# Seen: ModbusTcpClient(framer=FramerType.RTU), for serial devices behind an Ethernet gateway, keeps
# the second response for the next request. From then on, each read returns the register that was
# read before, without an exception, until the connection ends. The async client discards it, and so
# does ModbusSerialClient, which empties its buffer before it sends.
# It matters because a response has neither a number nor the register's address, by which a program
# could notice: after one slow response, it stores temperatures as pressures, for days.
# pymodbus 3.16.1; https://github.com/pymodbus-dev/pymodbus/pull/2636 (the second response should be
# discarded)
set -eu

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
PATH="$folder/venv/bin:$PATH"
pip install --quiet --disable-pip-version-check 'pymodbus==3.16.1'
python --version
pip freeze

cat >program.py <<'EOF'
import asyncio
import socket
import sys
import threading
import time
from contextlib import suppress

from pymodbus import FramerType
from pymodbus.client import AsyncModbusTcpClient, ModbusTcpClient
from pymodbus.framer import FramerRTU

listener = socket.create_server(("127.0.0.1", 0))
port = listener.getsockname()[1]


def device():
    """Return 100 for register 1, 200 for register 2 and so on. The first response is so late that
    the client has sent its request again.
    """
    while True:
        connection, _ = listener.accept()
        with connection, suppress(ConnectionResetError):
            late = connection.recv(8)
            while request := connection.recv(8):
                for one in (late, request) if late else (request,):
                    time.sleep(0.05)  # serial lines are slow
                    frame = one[:2] + bytes([2]) + (100 * one[3]).to_bytes(2, "big")
                    checksum = FramerRTU.compute_CRC(frame).to_bytes(2, "big")
                    connection.sendall(frame + checksum)
                late = b""


threading.Thread(target=device, daemon=True).start()
options = {"port": port, "framer": FramerType.RTU, "timeout": 1}


def read():
    client = ModbusTcpClient("127.0.0.1", **options)
    client.connect()
    values = []
    for number in (1, 2, 3, 4):
        values.append(client.read_holding_registers(number).registers[0])
        time.sleep(0.5)  # other work, as between two polls
    client.close()
    return values


async def read_async():
    client = AsyncModbusTcpClient("127.0.0.1", **options)
    await client.connect()
    values = []
    for number in (1, 2, 3, 4):
        result = await client.read_holding_registers(number)
        values.append(result.registers[0])
        await asyncio.sleep(0.5)
    client.close()
    return values


seen = [read(), asyncio.run(read_async())]
print("registers 1 to 4 have the values 100, 200, 300, 400")
print("ModbusTcpClient:     ", seen[0])
print("AsyncModbusTcpClient:", seen[1])
if seen != [[100, 100, 200, 300], [100, 200, 300, 400]]:
    sys.exit("The behaviour has changed.")
EOF
python program.py
