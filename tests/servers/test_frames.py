"""Frames of WebSockets as hostile clients send them, over servers whose WebSockets are of different
libraries.

uvicorn has ``websockets``, hypercorn has ``wsproto``. What a client sees is the same whoever
decides (``frames.py``), and whatever came, the application goes on. Two cases are left out, which
only uvicorn answers: a control frame between the fragments of a compressed message, of which
wsproto 1.3 loses the rest, and a frame that states 2**63 bytes, for which it waits.
"""

from __future__ import annotations

import re

import pytest

from tests.servers.frames import CASES, DECIDES, GROUPS, MICROPIE, SERVER, TEXT, Client, frame
from tests.servers.harness import ANSWER_WITHIN, ROOT, ServerOf


@pytest.mark.parametrize("name", ["uvicorn", "hypercorn-asyncio"])
def test_R57_any_websocket_frames_get_the_right_response(site_on: ServerOf, name: str) -> None:
    port = site_on(name).port
    wrong = {}
    for label, (section, case) in CASES.items():
        client = Client(port, ANSWER_WITHIN, case.offer)
        if case.offer and b"permessage-deflate" not in client.head.lower():
            wrong[label] = "no compression was agreed on"
            continue
        received = client.exchange(case.sent, case.size, len(case.echoed))
        # the connection may end before an echo comes
        is_cut = DECIDES[section] != MICROPIE and None in case.codes
        # uvicorn says why it ends a connection, hypercorn does not.
        said = None in case.codes and received.code not in (
            (None, 1009) if name == "hypercorn-asyncio" else case.codes[:-1]
        )
        if (
            said
            or received.code not in case.codes
            or (received.messages != case.echoed and not is_cut)
        ):
            messages = [(kind, content[:20], len(content)) for kind, content in received.messages]
            wrong[label] = f"{received.code} {messages[:3]}"
    assert wrong == {}
    again = Client(port, ANSWER_WITHIN).exchange(frame(TEXT, b"still there"), answers=1)
    assert again.messages == [(TEXT, b"still there")]


def test_each_relevant_autobahn_group_has_cases_and_a_row_in_the_docs() -> None:
    sections = {section for section, _ in CASES.values()}
    assert sections == DECIDES.keys() == GROUPS.keys()
    deciders: dict[int, set[str]] = {}
    for section, groups in GROUPS.items():
        for group in groups:
            deciders.setdefault(group, set()).add(DECIDES[section])
    page = (ROOT / "tests" / "project" / "risks" / "security-tests.md").read_text()
    rows = re.findall(r"^\| (\d+)(?:, (\d+))? [^|]+\| ([^|]+) \|", page, re.MULTILINE)
    stated = {
        int(group): set(who.split(", ")) for *numbers, who in rows for group in numbers if group
    }
    assert stated == deciders
    assert deciders.keys() == {*range(1, 8), 9, 10, 12, 13}
    assert set().union(*deciders.values()) == {MICROPIE, SERVER}
