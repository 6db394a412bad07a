"""What is done with each block of docs/deploy, inside of the machine of ``machine.py``.

``PAGES`` has a line for each block: a function that runs the block and says what came out, or the
reason why nobody runs it here. The machine is Debian with its own packages of nginx, HAProxy, Redis
and Apache as services of systemd. The application is the last step of the tutorial, in /srv/blog,
or the program of several-machines.md, in /srv/shop.
"""

from __future__ import annotations

import functools
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import textwrap
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import kubernetes_validate  # type: ignore[import-untyped]
import yaml  # type: ignore[import-untyped]

from tests.project.deploy.blocks import DOCS, ROOT, Block, blocks
from tests.project.deploy.engine import BUILT, Container, build_page, engine, podman, running

# What the pages tell to install, beside the extras of micropie.
BESIDE = "granian daphne 'twisted[http2]' waitress h2corn anycorn"
BLOG, SHOP = Path("/srv/blog"), Path("/srv/shop")
UNIT = Path("/etc/systemd/system/blog.service")
SITE = Path("/etc/nginx/sites-enabled/blog")
CERTIFICATES = Path("/etc/letsencrypt/live/blog.example.com")
TRUSTED = Path("/etc/ssl/pages.pem")
SOCKET = ["--unix-socket", "/run/blog/server.sock"]
# What a reverse proxy says of a client.
FORWARDED = ["-H", "X-Forwarded-For: 203.0.113.1", "-H", "X-Forwarded-Proto: https"]
# What it says behind another one.
TWO_PROXIES = ["-H", "X-Forwarded-For: 192.0.2.1, 203.0.113.1", *FORWARDED[2:]]
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
SECRET = "a secret of 32 bytes or more letters"
ENVIRONMENT = {
    "PATH": PATH,
    "HOME": "/root",
    "CURL_CA_BUNDLE": str(TRUSTED),
    # There is no network. pip finds what __main__.py has fetched.
    "PIP_NO_INDEX": "1",
    "PIP_FIND_LINKS": str(BUILT / "house"),
    "PIP_DISABLE_PIP_VERSION_CHECK": "1",
}


def variables_in(folder: Path) -> dict[str, str]:
    """The environment of commands in a folder: its virtual environment is active."""
    return ENVIRONMENT | {"PATH": f"{folder}/.venv/bin:{PATH}", "SECRET_KEY": SECRET}


def shell(script: str, folder: Path = Path("/")) -> str:
    """Run a page's lines as root, until one fails, and return what they write."""
    done = subprocess.run(
        ["bash", "-e", "-c", script],
        cwd=folder,
        env=variables_in(folder),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{script}: {done.returncode}, {done.stdout}{done.stderr}"
    return done.stdout


def ask(url: str, *options: str, status: int = 200, patience: float = 30) -> str:
    """Ask as a user without rights, until the status is the expected one; return head and body."""
    command = ["curl", "--silent", "--show-error", "--include", "--max-time", "15", *options, url]
    until, answer = time.monotonic() + patience, ""
    while time.monotonic() < until:
        done = subprocess.run(
            command, env=ENVIRONMENT, user="nobody", capture_output=True, text=True, check=False
        )
        answer = done.stdout or done.stderr
        if re.match(rf"HTTP/[\d.]+ {status}\b", answer):
            return answer
        time.sleep(0.2)
    raise AssertionError(f"{' '.join(command)}: {answer[:2000]}, and not {status}")


def wait_for(happened: Callable[[], object], what: str, patience: float = 30) -> None:
    until = time.monotonic() + patience
    while not happened():
        assert time.monotonic() < until, f"not within {patience} s: {what}"
        time.sleep(0.1)


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def listed(page: str, pattern: str) -> list[tuple[str, ...]]:
    """Return the cells of a page's rows whose first cell matches. The page must have such a row."""
    lines = re.findall(r"^\|(.*)\|$", (DOCS / page).read_text(), re.MULTILINE)
    rows = [tuple(cell.strip() for cell in line.split("|")) for line in lines]
    found = [row for row in rows if re.fullmatch(pattern, row[0])]
    assert found, f"no row of {page} matches {pattern}"
    return found


# -- servers -------------------------------------------------------------------------------------


def blog_variables(command: str) -> dict[str, str]:
    """The environment of the unit, for a server that may listen on TCP instead."""
    proxies = "unix" if "server.sock" in command else "127.0.0.1"
    return {"BLOG_HOSTS": "blog.example.com", "BLOG_PROXIES": proxies, "BLOG_DATA": "/var/lib/blog"}


@functools.cache
def install_servers() -> None:
    """As each-server.md says, for the blog, whose requirements are those of systemd.md until then."""
    wheel = next((BLOG / "wheels").glob("*.whl"))
    shell(f"pip install '{wheel}[standard,wsgi,trio]' {BESIDE}", BLOG)


class Server:
    """A server that runs; ``ended`` says how it has ended."""

    def __init__(self, command: str, folder: Path, variables: dict[str, str]) -> None:
        self.log = Path(f"/run/{time.monotonic_ns()}.log")
        self.command = command
        self.ended = ""
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                shlex.split(command),
                cwd=folder,
                env=variables_in(folder) | variables,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def end(self) -> None:
        if self.command.startswith("granian"):  # it may never end while a worker starts
            wait_for(lambda: "Started worker-2" in self.log.read_text(), "granian's second worker")
        began = time.monotonic()
        self.process.terminate()
        code = self.process.wait(90)
        took = time.monotonic() - began
        ended = "by SIGTERM" if code == -signal.SIGTERM else f"with {code}"
        self.ended = f"ends {ended}" + (f" after {took:.0f} s" if took > 5 else "")


@contextmanager
def served(command: str, variables: dict[str, str], folder: Path = BLOG) -> Iterator[Server]:
    """Run a server, and end it."""
    install_servers()
    for place in (BLOG, SHOP, Path("/run/blog"), Path("/var/lib/blog")):
        place.mkdir(exist_ok=True)
    # hypercorn leaves it behind, and daphne does not start then
    Path("/run/blog/server.sock").unlink(missing_ok=True)
    server = Server(command, folder, variables)
    try:
        yield server
        server.end()
    except BaseException as error:
        error.add_note(server.log.read_text()[-3000:])
        raise
    finally:
        with suppress(ProcessLookupError):
            os.killpg(server.process.pid, signal.SIGKILL)
        server.process.wait()


def address(command: str) -> list[str]:
    """What curl needs to ask the server of a command for the blog."""
    asked = ["-H", "Host: blog.example.com", *FORWARDED]
    return [*SOCKET, *asked] if "server.sock" in command else asked


def serve(block: Block) -> str:
    """Each line is a server's command."""
    results = []
    for command in block.text.splitlines():
        with served(command, blog_variables(command)) as server:
            ask("http://127.0.0.1:8000/", *address(command))
        results.append(f"200, {server.ended}")
    return "<br>".join(results)


def hand_over(block: Block) -> str:
    """A second gunicorn takes the place of the first, which the block before starts."""
    (command,) = [one.text.strip() for one in blocks() if "--pid gunicorn.pid" in one.text]
    pid = BLOG / "gunicorn.pid"
    with served(command, blog_variables(command)) as server:
        ask("http://127.0.0.1:8000/", *address(command))
        first = pid.read_text()
        shell(block.text, BLOG)
        server.process.wait(60)
        wait_for(pid.exists, "the second's gunicorn.pid")
        assert pid.read_text() != first
        ask("http://127.0.0.1:8000/", *address(command))
        os.kill(int(pid.read_text()), signal.SIGTERM)
        wait_for(lambda: not pid.exists(), "the end of the second")
    return "the second answers 200 when the first has ended"


# -- systemd -------------------------------------------------------------------------------------


def install(block: Block) -> str:
    shutil.copytree(ROOT / "examples" / "tutorial" / "step7", BLOG)
    shutil.copytree(BUILT / "wheels", BLOG / "wheels")
    shell(block.text)
    return "installed " + shell(f"{BLOG}/.venv/bin/uvicorn --version").split(" with ")[0].strip()


def unit(block: Block) -> str:
    write(block.file, block.text)
    said = shell(f"systemd-analyze verify --man=no {block.file} 2>&1")
    assert "blog." not in said, said
    return "`systemd-analyze verify`: nothing"


def service(block: Block) -> str:
    """Its last line follows the journal until it is interrupted."""
    journal = Path("/run/journal")
    with journal.open("w") as output:
        lines = subprocess.Popen(
            ["bash", "-e", "-c", block.text],
            env=ENVIRONMENT,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    try:
        ask("http://blog.example.com/", *SOCKET, *FORWARDED)
        wait_for(lambda: "client=203.0.113.1" in journal.read_text(), "a line of the access log")
    finally:
        os.killpg(lines.pid, signal.SIGTERM)
        lines.wait()
    (user,) = {Path("/var/lib/blog").owner(), Path("/run/blog").owner()}
    first = shell("systemctl show --property MainPID --value blog")
    shell("systemctl kill --kill-whom main --signal KILL blog")
    wait_for(
        lambda: shell("systemctl show --property MainPID --value blog") not in {first, "0\n"},
        "a new process after the end of the first",
    )
    ask("http://blog.example.com/", *SOCKET, *FORWARDED)
    shell("sudo systemctl restart blog")
    ask("http://blog.example.com/", *SOCKET, *FORWARDED)
    shell("systemctl stop blog")
    result = shell("systemctl show --property Result --value blog").strip()
    shell("systemctl start blog")
    return f"200, in the journal; folders of `{user}`; after SIGKILL 200; restarted: 200; stopped: {result}"


def gunicorn_line(block: Block) -> str:
    requirements = BLOG / "requirements.txt"
    write(requirements, requirements.read_text().replace("[standard]", "[standard,wsgi]"))
    shell(".venv/bin/pip install -r requirements.txt", BLOG)
    write(UNIT, re.sub("ExecStart=.*\n", lambda _: block.text, UNIT.read_text()))
    shell("systemctl daemon-reload; systemctl restart blog")
    ask("http://blog.example.com/", *SOCKET, *FORWARDED)
    shell("systemctl stop blog")
    result = shell("systemctl show --property Result --value blog").strip()
    shell("systemctl start blog")
    return f"200; stopped: {result}"


# -- nginx ---------------------------------------------------------------------------------------


def certificate(folder: Path, host: str, certificate: str, key: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    shell(
        f"openssl req -x509 -newkey rsa:2048 -nodes -keyout {key} -out {certificate} -days 30"
        f" -subj /CN={host} -addext subjectAltName=DNS:{host}",
        folder,
    )
    with TRUSTED.open("a") as trusted:
        trusted.write((folder / certificate).read_text())


def load() -> None:
    """As the page says. Until new workers have replaced the old ones, these may respond."""
    workers = "pgrep -f '^nginx: worker process$' || true"
    before = set(shell(workers).split())
    shell("sudo nginx -t && sudo systemctl reload nginx")
    wait_for(lambda: before.isdisjoint(shell(workers).split()), "the new workers of nginx")


def nginx_site(block: Block) -> str:
    certificate(CERTIFICATES, "blog.example.com", "fullchain.pem", "privkey.pem")
    write(block.file, block.text)
    shell("systemctl start nginx")
    load()
    head = ask("http://blog.example.com/read/1?a=b", status=301)
    assert "Location: https://blog.example.com/read/1?a=b" in head
    ask("https://blog.example.com/read/77", "-H", "X-Forwarded-For: 192.0.2.1", status=404)
    line = "journalctl --unit blog | grep path=/read/77"
    wait_for(lambda: "client=127.0.0.1" in shell(line), "the client's address in the log")
    ask("https://blog.example.com/", "-H", "Host: evil.example", status=400)
    ask("https://blog.example.com/")
    return "`nginx -t`; http 301, https 200, another host 400; the log has the client's address"


def balancer_address(block: Block) -> str:
    """The balancer is this machine."""
    inside = textwrap.indent(block.text.replace("198.51.100.0/24", "127.0.0.0/8"), "    ")
    write(SITE, nginx_text().replace("    location / {", f"{inside}\n    location / {{"))
    load()
    ask("https://blog.example.com/read/78", *TWO_PROXIES, status=404)
    line = "journalctl --unit blog | grep path=/read/78"
    wait_for(lambda: "client=203.0.113.1" in shell(line), "the client's address in the log")
    nginx_again()
    return "the log has the client's address, not the balancer's"


def balancer_scheme(block: Block) -> str:
    before, _, server = nginx_text().rpartition("server {")
    server = re.sub(r" +ssl_.*\n", "", server).replace("443 ssl", "80")
    own = "proxy_set_header X-Forwarded-Proto $scheme;\n"
    assert own in server
    shared = before.partition("server {\n    listen 80")[0]
    write(SITE, f"{shared}server {{{server.replace(own, block.text)}")
    load()
    assert "strict-transport-security" in ask("http://blog.example.com/", *TWO_PROXIES).lower()
    nginx_again()
    return "http: 200, as a response to https"


def nginx_again() -> None:
    write(SITE, nginx_text())
    load()


def socket_unit(block: Block) -> str:
    """The unit has gunicorn's line, without its socket, and nginx runs."""
    write(UNIT, UNIT.read_text().replace(" --bind unix:/run/blog/server.sock", ""))
    write(SITE, SITE.read_text().replace("unix:/run/blog/server.sock", "unix:/run/blog.sock"))
    return unit(block)


def socket_service(block: Block) -> str:
    before = UNIT.read_text()
    shell(block.text)
    ask("https://blog.example.com/")
    restart = subprocess.Popen(["systemctl", "restart", "blog"])
    asked = 0
    while restart.poll() is None or asked < 20:
        ask("https://blog.example.com/", patience=0.1)
        asked += 1
    assert restart.returncode == 0
    assert "--bind" not in before
    shell("systemctl disable --now blog.socket; systemctl stop blog")
    return "200, each request during a restart as well"


def files_map(block: Block) -> str:
    """In front of the site, which is that of ``nginx_site`` again."""
    write(SITE, f"{block.text}\n{nginx_text()}")
    load()
    return "`nginx -t`"


def files(block: Block) -> str:
    """The application is stopped: nginx serves the file alone."""
    inside = textwrap.indent(block.text, "    ")
    write(SITE, SITE.read_text().replace("    location / {", f"{inside}\n    location / {{"))
    load()
    url = "https://blog.example.com/static/" + next((BLOG / "static").iterdir()).name
    hour, ever = ask(url), ask(f"{url}?v=0123456789abcdef")
    assert "max-age=3600" in hour
    assert "max-age=315360000" in ever
    return "without the application 200, for an hour; with a fingerprint for ten years"


def nginx_text() -> str:
    (text,) = [block.text for block in blocks() if block.text.startswith("upstream blog {")]
    return text


# The rows of nginx.md's table, and what is in the commands of each-server.md that they are about.
BELOW = {
    "uvicorn": ["uvicorn"],
    "gunicorn's WSGI workers": ["-k gthread"],
    "granian's WSGI interface": ["--interface wsgi"],
    "hypercorn, daphne, gunicorn's asgi worker": ["hypercorn", "daphne", "-k asgi"],
    "granian's ASGI interface": ["--interface asgi"],
    "waitress": ["waitress"],
    "`micropie run`": ["micropie run"],
}


def below_prefix(block: Block) -> str:
    """Run the servers of all rows that want the path as the block passes it on."""
    whole = "proxy_pass http://blog;" in block.text
    location = block.text.partition("    # and")[0]
    site = nginx_text().replace("location / {\n        proxy_pass http://blog;\n", location)
    commands = "".join(one.text for one in blocks() if one.page == "each-server.md").splitlines()
    results = []
    for row, option, passes in listed("nginx.md", "(?!server|-)[^|]*"):
        # ``micropie run`` takes uvicorn here
        fits = {"either", "the whole path"} if whole else {"either", "the path without the prefix"}
        if passes not in fits and (whole or row != "`micropie run`"):
            continue
        for part in BELOW[row]:
            command = next(command for command in commands if part in command)
            below(command, option.split("`")[1], site)
            results.append(command.split()[0])
    return "200 and links below the prefix: " + ", ".join(results)


def below(command: str, option: str, site: str) -> None:
    variables = blog_variables(command)
    if option.startswith("-"):
        program = re.match(r"micropie run|\S+", command)
        assert program is not None
        command = f"{program[0]} {option}{command.removeprefix(program[0])}"
    else:
        variables |= dict([option.split("=")])
    if "server.sock" not in command:
        site = site.replace("unix:/run/blog/server.sock", "127.0.0.1:8000")
    write(SITE, site)
    load()
    with served(command, variables):
        assert 'href="/blog/' in ask("https://blog.example.com/blog/")
        ask("https://blog.example.com/blog/static/site.css")
        assert "https://blog.example.com/blog/\n" in ask(
            "https://blog.example.com/blog", status=301
        ).replace("\r", "")


# -- TLS -----------------------------------------------------------------------------------------


def https(block: Block) -> str:
    """Run the lines for each row, with the first of the server's commands, at port 8443."""
    make, request = block.text.splitlines()
    shell(make, BLOG)
    commands = "".join(one.text for one in blocks() if one.page == "each-server.md").splitlines()
    results = []
    for name, options, spoken in listed("tls.md", "(?!server|waitress|-)[^|]*"):
        command = next(one for one in commands if one.startswith(name.strip("`")))
        where = "--bind 0.0.0.0:8443" if "--bind" in command else "--host 0.0.0.0 --port 8443"
        command = re.sub(r"--(uds|bind) \S+|-u \S+|--host \S+|--port \S+|--umask 0", "", command)
        where = "" if name == "daphne" else where
        variables = blog_variables(command) | {"BLOG_HOSTS": "localhost"}
        with served(f"{command} {where} {options.strip('`')}", variables):
            ask("https://localhost:8443/", "--insecure")
            version = shell(request).split(" ")[0]
        assert (version == "HTTP/2") == spoken.startswith("yes") or "with" in spoken, name
        results.append(f"{name.strip('`')} {version}")
    return ", ".join(results)


# -- containers ----------------------------------------------------------------------------------


def shop(block: Block) -> str:
    """The program of several-machines.md, and its environment."""
    write(SHOP / "app.py", block.text)
    wheel = next((BUILT / "wheels").glob("*.whl"))
    shell("python3 -m venv .venv", SHOP)
    shell(f"pip install '{wheel}[standard,wsgi,redis,itsdangerous]' mangum", SHOP)
    shell("systemctl start redis-server; ip address add 10.0.0.11/24 dev lo")
    shell("ip address add 10.0.0.12/24 dev lo")
    return "`micropie check`: " + shell("micropie check app:app", SHOP).splitlines()[-1]


def image(block: Block) -> str:
    """Run the blog's image as it is, with its data in a volume, which a second container reads."""
    build_page("blog", ROOT / "examples" / "tutorial" / "step7", "")
    options = ["--env=BLOG_HOSTS=blog.example.com", "--volume=blog:/var/lib/blog", "blog"]
    check = json.loads(podman("inspect", "--type=image", "blog"))[0]["Healthcheck"]["Test"][1:]
    for _ in range(2):
        with running("one", *options) as container:
            ask(f"http://{container.address}:8000/", "-H", "Host: blog.example.com")
            podman("healthcheck", "run", "one")
            podman("exec", "one", "test", "-O", "/var/lib/blog/blog.db")
            users = set(container.process()["Uid"].split())
    assert users == {"10001"}
    failed = subprocess.run(
        [*engine(), "run", "--rm", "blog", *check], capture_output=True, check=False
    )
    assert failed.returncode == 1, "the health check succeeds without a server"
    return f"built, on Debian's Python 3.13; as 10001: 200, healthy; {container.ended}"


def ignored(block: Block) -> str:
    names = podman("run", "--rm", "blog", "ls", "-a", "/srv/blog").split()
    assert "app.py" in names
    assert not {".git", ".venv", ".env", "blog.db"} & {*names}, names
    return "none of them is in the image"


def pod(block: Block) -> str:
    """Validate the objects, and let podman run the Deployment's pod.

    The probes are those of the kubelet: podman's would need curl in the image. It knows no
    ``preStop``.
    """
    objects = list(yaml.safe_load_all(block.text))
    for one in objects:
        kubernetes_validate.validate(one, "1.32", strict=True)
    template = objects[0]["spec"]["template"]
    (container,) = template["spec"]["containers"]
    build_page(
        container["image"], SHOP, "[standard,wsgi,trio,redis,itsdangerous]\ngranian\nwaitress"
    )
    shell("redis-cli config set protected-mode no; redis-cli config set bind '*'")
    probes = [
        container.pop(f"{name}Probe")["httpGet"] for name in ("startup", "readiness", "liveness")
    ]
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "shop"},
        "stringData": {"redis-url": "redis://10.88.0.1:6379/0", "secret-key": SECRET},
    }
    podman("kube", "play", "--network=podman", "-", given=yaml.safe_dump_all([secret, objects[0]]))
    infra = podman("pod", "inspect", "--format={{.InfraContainerID}}", "shop-pod")
    address = f"http://{Container(infra).address}:{container['ports'][0]['containerPort']}"
    running_one = Container("shop-pod-shop")
    try:
        for probe in probes:
            ask(address + probe["path"])
        ask(f"{address}/", "-H", "Host: shop.example.com", *FORWARDED)
        status = running_one.process()
        assert (status["CapBnd"], status["NoNewPrivs"], status["Seccomp"]) == ("0" * 16, "1", "2")
        assert {*status["Uid"].split()} == {"10001"}
        podman("exec", "shop-pod-shop", "sh", "-c", "! touch /srv/blog/new && touch /tmp/new")
        running_one.end(template["spec"]["terminationGracePeriodSeconds"])
    except BaseException as error:
        error.add_note(podman("logs", "shop-pod-shop"))
        raise
    podman("pod", "rm", "--force", "--time=0", "shop-pod")
    paths = ", ".join(probe["path"] for probe in probes)
    return f"valid; as a pod, read only: {paths} 200; {running_one.ended}; {stopped(container['image'])}"


def stopped(image: str) -> str:
    """Run the commands of the page's table without rights, and stop them."""
    names = []
    for first, _, _, seconds in listed("kubernetes.md", "`[a-z]+(?: |-serve)[^|]*"):
        command = first.split("`")[1]
        where = "--bind 0.0.0.0:8000"
        where = "--host 0.0.0.0 --port 8000" if re.match("uvicorn|granian", command) else where
        where = "--listen 0.0.0.0:8000" if command.startswith("waitress") else where
        options = ["--read-only", "--tmpfs=/tmp", "--cap-drop=all", f"--env=SECRET_KEY={SECRET}"]
        options += ["--env=REDIS_URL=redis://10.88.0.1:6379/0"]
        options += ["--stop-signal=SIGINT"] if "SIGINT" in first else []
        arguments = shlex.split(command.replace("...", f"{where} app:app"))
        with running("one", *options, image, *arguments, seconds=int(seconds)) as container:
            ask(f"http://{container.address}:8000/livez")
        names.append(f"{' '.join(arguments[: 3 if '-k' in arguments else 1])} {container.ended}")
    return ", ".join(names)


# -- several machines ----------------------------------------------------------------------------


def machines(block: Block) -> str:
    """Run the servers of both machines, behind HAProxy."""
    first, second = block.text.splitlines()
    with served(first, {}, SHOP) as one, served(second, {}, SHOP) as two:
        for address in ("10.0.0.11", "10.0.0.12"):
            ask(f"http://{address}:8000/readyz")
        ask("https://shop.example.com/")
        ask("http://shop.example.com/", status=301)
    return f"200 behind the balancer; {one.ended}, {two.ended}"


def balancer(block: Block) -> str:
    certificate(Path("/etc/haproxy"), "shop.example.com", "shop.pem", "shop.pem.key")
    write(block.file, block.text)
    shell("systemctl stop nginx; haproxy -c -f /etc/haproxy/haproxy.cfg; systemctl restart haproxy")
    ask("http://shop.example.com/", status=301)
    ask("https://shop.example.com/", "--insecure", status=503)
    return "valid; http 301, and 503 without a machine"


# -- platforms -----------------------------------------------------------------------------------


def cloud_run(block: Block) -> str:
    build_page("run", SHOP, "[standard,redis,itsdangerous]", block.text.strip())
    with running("one", "--env=PORT=8080", f"--env=SECRET_KEY={SECRET}", "run", seconds=10) as one:
        ask(f"http://{one.address}:8080/livez")
    return f"as the image's last line: 200 at `PORT`; {one.ended}"


def mangum(block: Block) -> str:
    shutil.copy(SHOP / "app.py", SHOP / "shop.py")
    write(SHOP / "function.py", block.text)
    event = {
        "version": "2.0",
        "rawPath": "/",
        "rawQueryString": "",
        "headers": {"host": "shop.example.com", "x-forwarded-proto": "https"},
        "requestContext": {
            "http": {
                "method": "GET",
                "path": "/",
                "sourceIp": "203.0.113.1",
                "protocol": "HTTP/1.1",
            }
        },
        "isBase64Encoded": False,
    }
    program = f"import function; print(function.handler({event!r}, None)['statusCode'])"
    status = shell(f"python -c {shlex.quote(program)}", SHOP).strip()
    assert status == "200", status
    return "200 for the event of a function URL"


def wsgi_file(block: Block) -> str:
    write(SHOP / "site.wsgi", block.text)
    return f"run by Apache, below: {apache()}"


def apache() -> str:
    (text,) = [one.text for one in blocks() if "WSGIDaemonProcess" in one.text]
    (program,) = [one.text for one in blocks() if '"/srv/shop"' in one.text]
    write(SHOP / "site.wsgi", program)
    site = f"<VirtualHost *:80>\n{text}</VirtualHost>\n"
    with Path("/etc/apache2/envvars").open("a") as variables:
        variables.write(f"export SECRET_KEY='{SECRET}'\n")
    write(Path("/etc/apache2/sites-enabled/000-default.conf"), site)
    shell("systemctl stop nginx haproxy; apache2ctl configtest; systemctl restart apache2")
    ask("http://shop.example.com/livez")
    ask("http://shop.example.com/")
    shell("systemctl stop apache2")
    return "200"


def apache_site(block: Block) -> str:
    return f"`apache2ctl configtest`; {apache()}"


def python_anywhere(block: Block) -> str:
    """Its server is uWSGI."""
    program = Path("/var/www/you_pythonanywhere_com_wsgi.py")
    write(program, block.text)
    Path("/home/you").mkdir(parents=True, exist_ok=True)
    Path("/home/you/shop").symlink_to(SHOP)
    command = f"uwsgi --plugin python3 --http-socket 127.0.0.1:8000 --wsgi-file {program}"
    with served(f"{command} --virtualenv {SHOP}/.venv --die-on-term", {}, Path("/")):
        ask("http://127.0.0.1:8000/livez")
        ask("http://127.0.0.1:8000/", "-H", "Host: shop.example.com")
    return f"uWSGI: 200; {greenlets()}"


def greenlets() -> str:
    """uWSGI with gevent, as each-server.md says, whether it replaces threads or not."""
    shell("pip install gevent", SHOP)
    command = "uwsgi --plugin python3,gevent_python3 --http-socket 127.0.0.1:8000"
    command += f" --virtualenv {SHOP}/.venv"
    command += f" --pythonpath {ROOT} --module tests.servers.greenlets:app --die-on-term --gevent 8"
    for patched in ("", " --gevent-monkey-patch"):
        with served(command + patched, {}, Path("/")) as server:
            ask("http://127.0.0.1:8000/")
            for path in ("waits", "achunks", "calls", "events"):
                ask(f"http://127.0.0.1:8000/{path}", status=500)
            ask("http://127.0.0.1:8000/provided")
        assert "uWSGI with --threads instead of --gevent" in server.log.read_text()
    return "with gevent, def 200, async 500"


# -- the table -----------------------------------------------------------------------------------

# A text that is in one block only of the page, and what is done with this block, in this order.
Done = Callable[[Block], str] | str
PAGES: list[tuple[str, str, Done]] = [
    ("systemd.md", "python3 -m venv", install),
    ("systemd.md", "[Unit]", unit),
    ("systemd.md", "sudo useradd", service),
    ("systemd.md", "--no-control-socket", gunicorn_line),
    ("nginx.md", "upstream blog", nginx_site),
    ("nginx.md", "set_real_ip_from", balancer_address),
    ("nginx.md", "$http_x_forwarded_proto", balancer_scheme),
    ("systemd.md", "[Socket]", socket_unit),
    ("systemd.md", "blog.socket", socket_service),
    ("nginx.md", "map $arg_v", files_map),
    ("nginx.md", "alias", files),
    ("nginx.md", "proxy_pass http://blog/;", below_prefix),
    ("nginx.md", "location /blog/ {\n    proxy_pass http://blog;", below_prefix),
    ("each-server.md", "uvicorn", serve),
    ("each-server.md", "hypercorn", serve),
    ("each-server.md", "h2corn", "not run: it failed on the machine of these tests"),
    ("each-server.md", "anycorn", serve),
    ("each-server.md", "granian", serve),
    ("each-server.md", "daphne", serve),
    ("each-server.md", "gunicorn", serve),
    ("each-server.md", "waitress", serve),
    ("each-server.md", "micropie run", serve),
    ("workers.md", "uvicorn", serve),
    ("workers.md", "--preload", serve),
    ("workers.md", "old=$(cat gunicorn.pid)", hand_over),
    ("tls.md", "openssl", https),
    ("several-machines.md", "class Shop", shop),
    ("kubernetes.md", "kind: Deployment", pod),
    ("several-machines.md", "frontend web", balancer),
    ("several-machines.md", "uvicorn app:app", machines),
    ("platforms.md", "CMD", cloud_run),
    ("platforms.md", "import Mangum", mangum),
    ("platforms.md", "asgi.entrypoint", "not run: the module `workers` is only on the platform"),
    ("platforms.md", '"/srv/shop"', wsgi_file),
    ("platforms.md", "WSGIDaemonProcess", apache_site),
    ("platforms.md", '"/home/you/shop"', python_anywhere),
    ("containers.md", "FROM", image),
    ("containers.md", ".git", ignored),
    ("index.md", "browser", "not run: a picture"),
]
NEEDED = [install, unit, service, nginx_site, shop]


def decided() -> list[tuple[Block, Done]]:
    """Return each block with what is done with it. Both have to be complete."""
    found = []
    for page, part, done in PAGES:
        fitting = [block for block in blocks() if block.page == page and part in block.text]
        assert len(fitting) == 1, f"{len(fitting)} blocks of {page} have {part!r}: name one"
        found.append((fitting[0], done))
    missing = [block.row for block in blocks() if [one for one, _ in found].count(block) != 1]
    assert not missing, f"add to PAGES of tests/project/deploy/pages.py: {missing}"
    return found
