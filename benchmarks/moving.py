"""`python -m benchmarks.moving`: an old application on its own framework, and on micropie by one
changed import line.

The first tables are measured in process, as those of `overhead`. The others are measured behind
servers with one worker: pages of a real site by the processor time of the worker, which the kernel
counts in nanoseconds (so it needs Linux), and requests per second on the plain text.
`--without-servers` leaves them out.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import random
import socket
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from statistics import median
from typing import NamedTuple

from benchmarks import report
from benchmarks.apps import fast_json, moved_apps
from benchmarks.behind import Client, processor_time, target_of
from benchmarks.cases import BOTTLE_PAGES, BY_NAME, CHERRYPY_PAGES, HOOK, Case, complaint
from benchmarks.goals import judge_moving
from benchmarks.harness import Unavailable, headers_of, signed_in
from benchmarks.load import rate
from benchmarks.overhead import Contender, Table, as_json, parser_for, run_table, versions
from benchmarks.processes import free_port, running, uvicorn

HOOKED = tuple(
    replace(BY_NAME[name], expects=(HOOK,)) for name in ("plain", "json", "form", "stream")
)

TABLES = (
    Table(
        "bottle",
        "An application on Bottle, under WSGI",
        (
            Contender("Bottle", "moved_apps", "make_bottle", "bottle"),
            Contender("micropie", "moved_apps", "make_moved_bottle"),
        ),
    ),
    Table(
        "cherrypy",
        "An application on CherryPy, under WSGI",
        (
            Contender("CherryPy", "moved_apps", "make_cherrypy", "cherrypy"),
            Contender("micropie", "moved_apps", "make_moved_cherrypy"),
        ),
    ),
    Table(
        "bottle-hooks",
        "An application on Bottle with a hook before and one after each request, under WSGI",
        (
            Contender("Bottle", "moved_apps", "make_hooked_bottle", "bottle"),
            Contender("micropie", "moved_apps", "make_moved_hooked_bottle"),
        ),
        HOOKED,
    ),
    Table(
        "cherrypy-hooks",
        "An application on CherryPy with a tool before and one after each handler, under WSGI",
        (
            Contender("CherryPy", "moved_apps", "make_hooked_cherrypy", "cherrypy"),
            Contender("micropie", "moved_apps", "make_moved_hooked_cherrypy"),
        ),
        HOOKED,
    ),
    Table(
        "bottle-asgi",
        "An application on Bottle, under ASGI",
        (
            Contender("a2wsgi + Bottle", "moved_apps", "make_bottle_a2wsgi", "a2wsgi"),
            Contender("micropie", "moved_apps", "make_moved_bottle"),
        ),
        whole_chunks=False,
        asgi=True,
    ),
    Table(
        "cherrypy-asgi",
        "An application on CherryPy, under ASGI",
        (
            Contender("a2wsgi + CherryPy", "moved_apps", "make_cherrypy_a2wsgi", "a2wsgi"),
            Contender("micropie", "moved_apps", "make_moved_cherrypy"),
        ),
        whole_chunks=False,
        asgi=True,
    ),
)
# Pages of a real site. In process the servers' part is missing: behind gunicorn they are measured
# once more.
PAGES = (
    Table(
        "bottle-pages",
        "Pages of a site on Bottle",
        (
            Contender("Bottle", "page_apps", "make_bottle", "bottle"),
            Contender("micropie", "page_apps", "make_moved_bottle"),
        ),
        BOTTLE_PAGES,
    ),
    Table(
        "cherrypy-pages",
        "Pages of a site on CherryPy",
        (
            Contender("CherryPy", "page_apps", "make_cherrypy", "cherrypy"),
            Contender("micropie", "page_apps", "make_moved_cherrypy"),
        ),
        CHERRYPY_PAGES,
    ),
)
# Under uvicorn the original needs a bridge: it is not asked there.
SERVED = (
    ("Bottle", "gunicorn", "make_bottle"),
    ("micropie in Bottle's place", "gunicorn", "make_moved_bottle"),
    ("micropie in Bottle's place", "uvicorn", "make_moved_bottle"),
    ("CherryPy", "gunicorn", "make_cherrypy"),
    ("micropie in CherryPy's place", "gunicorn", "make_moved_cherrypy"),
    ("micropie in CherryPy's place", "uvicorn", "make_moved_cherrypy"),
)
TURN = 2.0  # seconds
CONNECTIONS = 16
PAGE_CONNECTIONS = 4


@contextlib.contextmanager
def serving(server: str, factory: str, module: str = "moved_apps") -> Iterator[tuple[int, int]]:
    """Run a server with one worker and yield its port and its process id."""
    application = f"benchmarks.apps.{module}:{factory}"
    if server == "uvicorn":
        with uvicorn(application) as found:
            yield found
        return
    port = free_port()
    options = "--worker-class gthread --threads 4 --keep-alive 60 --log-level critical"
    command = [sys.executable, "-m", "gunicorn", "--bind", f"127.0.0.1:{port}", *options.split()]
    with running([*command, f"{application}()"], port) as process:
        yield port, process.pid


class Page(NamedTuple):
    """One kind of request to one contender behind a server."""

    table: Table
    contender: str
    pid: int
    port: int
    case: Case


def load_page(page: Page, count: int) -> None:
    """Send so many requests over a few connections that stay open, and read the answers.

    Raises ``SystemExit`` for an answer of another length or status than the first.
    """
    case = page.case
    head = [f"{case.method} {target_of(case)} HTTP/1.1"]
    head += [f"{name}: {value}" for name, value in headers_of(case).items()]
    request = "\r\n".join([*head, "", ""]).encode() + case.body
    with contextlib.ExitStack() as stack:
        address = "127.0.0.1", page.port
        clients = [
            stack.enter_context(socket.create_connection(address, timeout=30))
            for _ in range(PAGE_CONNECTIONS)
        ]
        length = 0
        for _ in range(-(-count // PAGE_CONNECTIONS)):
            for client in clients:
                client.sendall(request)
            for client in clients:
                status, length = _read_answer(client, length)
                if status != case.status:
                    raise SystemExit(f"{page.contender}, {case.title}: status {status}")


def _read_answer(client: socket.socket, length: int) -> tuple[int, int]:
    """Read an answer of ``length`` bytes, 0 if that is not known yet.

    Return its status and its length.
    """
    answer = bytearray()
    while not length or len(answer) < length:
        piece = client.recv(512 * 1024)
        if not piece:
            raise SystemExit(f"the server closed a connection: {bytes(answer[:200])!r}")
        answer += piece
        head, found, _ = bytes(answer[:4096]).partition(b"\r\n\r\n")
        if not length and found:
            stated = [
                line.partition(b":")[2]
                for line in head.lower().split(b"\r\n")
                if line.startswith(b"content-length:")
            ]
            length = len(head) + 4 + int(stated[0])
    if len(answer) > length:
        raise SystemExit(f"an unexpected answer: {bytes(answer[:200])!r}")
    return int(answer[9:12]), length


def measure_pages(tables: Sequence[Table], rounds: int, batch: int) -> str:
    """Return a table for each site: the processor time of the worker for a request.

    The contenders take turns, and the original is the unit.
    """
    text = []
    for table in tables:
        with contextlib.ExitStack() as stack:
            pages = []
            for contender in table.contenders:
                server = serving("gunicorn", contender.factory, contender.module)
                try:
                    importlib.import_module(contender.package or "micropie")
                    port, pid = stack.enter_context(server)
                except (ImportError, Unavailable) as error:
                    text.append(f"Missing: {contender.name} ({error}).\n")
                    continue
                pages += [
                    Page(table, contender.name, pid, port, signed_in(Client(), port, case))
                    for case in table.cases
                ]
            for page in pages:
                said = complaint(page.case, Client().ask(page.port, page.case), whole_chunks=False)
                if said:
                    raise SystemExit(f"{page.contender}, {page.case.title}: {said}")
                load_page(page, 100)
            spent: dict[tuple[str, str], list[float]] = {}
            for _ in range(rounds):
                for page in sorted(
                    random.sample(pages, len(pages)), key=lambda page: page.case.name
                ):
                    before = processor_time(page.pid)
                    load_page(page, batch)
                    took = (processor_time(page.pid) - before) / batch / 1000
                    spent.setdefault((page.contender, page.case.name), []).append(took)
        text.append(_page_table(table, spent))
    return "\n".join(text)


def _page_table(table: Table, spent: dict[tuple[str, str], list[float]]) -> str:
    """Return the least and the median of each, and the ratio of the pairs of rounds' median."""
    names = [contender.name for contender in table.contenders]
    lines = [
        f"### {table.title}, behind gunicorn's threads, microseconds of the worker's processor",
        "",
        f"| | {' | '.join(names)} | least | median of rounds |",
        f"| --- |{' ---: |' * (len(names) + 2)}",
    ]
    for case in table.cases:
        rows = [spent.get((name, case.name), []) for name in names]
        if not all(rows):
            continue
        first, last = rows[0], rows[-1]
        pairs = median(ours / theirs for theirs, ours in zip(first, last, strict=True))
        cells = " | ".join(f"{min(row):.0f} ({median(row):.0f})" for row in rows)
        lines.append(f"| {case.title} | {cells} | {min(last) / min(first):.2f} | {pairs:.2f} |")
    return "\n".join(lines) + "\n"


def measure_served(rounds: int) -> str:
    """Return the table of requests per second behind servers. The contenders take turns."""
    missing = []
    with contextlib.ExitStack() as stack:
        ports = {}
        for name, server, factory in SERVED:
            try:
                getattr(moved_apps, factory)()
                ports[name, server] = stack.enter_context(serving(server, factory))[0]
            except (ImportError, Unavailable) as error:
                missing.append(f"\nMissing: {name} on {server} ({error}).")
        rates: dict[tuple[str, str], list[float]] = {key: [] for key in ports}
        order = list(ports)
        for _ in range(rounds):
            random.shuffle(order)
            for key in order:
                rates[key].append(rate(ports[key], TURN, CONNECTIONS))
    lines = [
        "### Behind servers",
        "",
        "| requests per second | server | best | median |",
        "| --- | --- | ---: | ---: |",
    ]
    lines += [
        f"| {name} | {server} | {max(row):.0f} | {median(row):.0f} |"
        for (name, server), row in rates.items()
    ]
    return "\n".join([*lines, *missing]) + "\n"


def main(arguments: Sequence[str] | None = None) -> int:
    parser = parser_for("moving", __doc__, (*TABLES, *PAGES), 40)
    parser.add_argument("--without-servers", action="store_true", help="in process only")
    parser.add_argument(
        "--server-rounds", type=int, default=5, help="turns of two seconds (%(default)s)"
    )
    options = parser.parse_args(arguments)
    pages = [table for table in PAGES if table.key in options.only]
    tables = [table for table in TABLES if table.key in options.only]
    outcomes = [run_table(table, options) for table in (*tables, *pages)]
    wrong = [f"{outcome.table.key}: {said}" for outcome in outcomes for said in outcome.wrong]
    if wrong:
        print(
            "wrong answers, so nothing of these tables was measured:",
            *wrong,
            sep="\n- ",
            file=sys.stderr,
        )
    verdicts = judge_moving({outcome.table.key: outcome.summary(min) for outcome in outcomes})
    if not options.markdown:
        print(
            report.preamble(
                versions(TABLES), fast_json.NAME, options.loop, options.rounds, options.batch
            )
        )
    for outcome in outcomes:
        titles = {case.name: case.title for case in outcome.cases}
        best = outcome.summary(min)
        print(report.table(outcome.table.title, titles, outcome.table.base, best, outcome.missing))
    if not options.without_servers:
        print(measure_pages(pages, options.server_rounds, options.batch))
        if tables:
            print(measure_served(options.server_rounds))
    print(report.goals(verdicts))
    if options.json:
        options.json.write_text(json.dumps(as_json(outcomes, verdicts, options), indent=2) + "\n")
    return int(bool(wrong) or (options.check and not all(verdict.met for verdict in verdicts)))


if __name__ == "__main__":
    raise SystemExit(main())
