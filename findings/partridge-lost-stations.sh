#!/usr/bin/env bash
# Expected: load_feed(path), with no view, has each row of the timetable, because a view is what
# filters.
# Seen: a row to which no other row refers is dropped: a stop that no trip serves, and so each
# station (location_type 1) and each entrance (2). The column parent_station of a platform refers to
# a row that is missing, and the transfer from the platform to its station is gone as well. A route
# without trips is missing, too. load_raw_feed() has all rows, but all values are texts.
# It matters for maps and for routing: stations have neither names nor positions, and a count of the
# stops in a feed is too low, without a warning.
# partridge 1.1.2; the package's partridge/config.py and gtfs.py;
# https://gtfs.org/documentation/schedule/reference/#stopstxt
set -eu

folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
PATH="$folder/venv/bin:$PATH"
pip install --quiet --disable-pip-version-check 'partridge==1.1.2' 'pandas==2.3.3'
python --version
pip freeze

cat >program.py <<'EOF'
import pathlib
import sys

import partridge

FILES = {
    "agency.txt": "agency_id,agency_name,agency_url,agency_timezone\n1,A,http://a.example,UTC\n",
    "stops.txt": "stop_id,stop_name,stop_lat,stop_lon,location_type,parent_station\n"
    "S,Station,1,2,1,\nP,Platform,1,2,0,S\nE,Entrance,1,2,2,S\n",
    "routes.txt": "route_id,agency_id,route_short_name,route_type\nR,1,1,3\nQ,1,2,3\n",
    "trips.txt": "route_id,service_id,trip_id\nR,W,T\n",
    "stop_times.txt": "trip_id,arrival_time,departure_time,stop_id,stop_sequence\n"
    "T,25:10:00,25:10:00,P,1\n",
    "calendar.txt": "service_id,monday,tuesday,wednesday,thursday,friday,saturday,sunday,"
    "start_date,end_date\nW,1,1,1,1,1,0,0,20240101,20241231\n",
    "transfers.txt": "from_stop_id,to_stop_id,transfer_type\nP,S,0\n",
}
folder = pathlib.Path("feed")
folder.mkdir()
for name, text in FILES.items():
    (folder / name).write_text(text)
seen = {}
for load in (partridge.load_feed, partridge.load_raw_feed):
    feed = load("feed")
    seen[load.__name__] = (
        [*feed.stops["stop_name"]],
        [*feed.routes["route_id"]],
        len(feed.transfers),
    )
    print(load.__name__, seen[load.__name__])
print("the platform's parent:", [*partridge.load_feed("feed").stops["parent_station"]])
if seen != {
    "load_feed": (["Platform"], ["R"], 0),
    "load_raw_feed": (["Station", "Platform", "Entrance"], ["R", "Q"], 1),
}:
    sys.exit("The behaviour has changed.")
EOF
python program.py
