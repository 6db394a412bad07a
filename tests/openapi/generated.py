"""Generate clients by openapi-python-client, and call what is generated.

``python -m tests.openapi.generated`` does so for the applications of the examples and of the
tutorial of an API, each behind uvicorn. With npm it also has openapi-typescript make types of each document
and of those in tests/openapi/topics.py, which TypeScript's compiler checks. It prints a table, and
fails for a warning, for an answer that the document does not state, and for one that the client
can't read.
"""

from __future__ import annotations

import base64
import enum
import importlib
import inspect
import io
import json
import pkgutil
import re
import shutil
import subprocess
import sys
import tempfile
import types
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints
from uuid import UUID

from tests.servers.harness import serving
from tests.support.environment import unmeasured

ROOT = Path(__file__).parent.parent.parent
EXAMPLES = (
    *("album", "api", "blog", "chat", "events", "forms", "hello", "live", "login", "paste"),
    *("primes", "shortener", "streaming", "subapps", "tour", "upload"),
)
# The others have pages alone.
TUTORIALS = ("tutorial/api/step7",)
# They never end, fail on purpose, or compute for long.
LEFT_OUT = {"clock", "countdown", "crash", "progress", "messages"}
TOOLS = ("openapi-typescript@7.13.0", "typescript@5.9.3")
SIMPLE: dict[Any, Any] = {
    int: 1,
    float: 1.5,
    bool: True,
    str: "a",
    object: "a",
    Any: "a",
    date: date(2026, 3, 1),
    datetime: datetime(2026, 3, 1, 12, tzinfo=UTC),
    UUID: UUID(int=1),
}


def generate(document: dict[str, Any], folder: Path, name: str) -> Any:
    """Generate a client in a folder, and import it. Fails for a warning."""
    (folder / "openapi.json").write_text(json.dumps(document))
    options = ["--path", "openapi.json", "--meta", "none", "--output-path", name, "--overwrite"]
    # without ruff's work on the files, whose absence is a warning
    (folder / "config.yml").write_text("post_hooks: []")
    options += ["--config", "config.yml", "--fail-on-warning"]
    made = subprocess.run(
        [sys.executable, "-m", "openapi_python_client", "generate", *options],
        cwd=folder,
        env=unmeasured(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert made.returncode == 0, made.stdout + made.stderr
    importlib.invalidate_caches()
    return importlib.import_module(name)


def functions_of(package: Any) -> dict[str, Any]:
    """Return the module of each operation by the operation's name."""
    found = pkgutil.walk_packages(package.__path__, f"{package.__name__}.")
    names = [one.name for one in found if ".api." in one.name and not one.ispkg]
    return {name.rpartition(".")[2].rstrip("_"): importlib.import_module(name) for name in names}


def operations_of(document: dict[str, Any]) -> dict[str, Any]:
    return {
        re.sub(r"\W+|(?<=[a-z0-9])(?=[A-Z])", "_", one["operationId"]).lower(): one
        for path in document["paths"].values()
        for one in path.values()
    }


class Arguments:
    """Values of the types that a generated client states.

    ``is_full``: optional values are given, too.
    """

    def __init__(self, package: Any, *, is_full: bool) -> None:
        self._models = vars(importlib.import_module(f"{package.__name__}.models"))
        self._types = importlib.import_module(f"{package.__name__}.types")
        self._is_full = is_full

    def of_function(self, function: Any) -> dict[str, Any]:
        hints = get_type_hints(function, localns=self._models)
        parameters = [
            one for name, one in inspect.signature(function).parameters.items() if name != "client"
        ]
        return {one.name: self._value(hints[one.name], 0) for one in parameters if self._has(one)}

    def _has(self, parameter: inspect.Parameter) -> bool:
        return self._is_full or parameter.default is parameter.empty

    def _value(self, hint: Any, depth: int) -> Any:
        origin, arguments = get_origin(hint), get_args(hint)
        if origin in (Union, types.UnionType):
            members = [one for one in arguments if one not in (self._types.Unset, type(None))]
            return self._value(members[0], depth)
        if origin is list:
            return [self._value(arguments[0], depth)] if depth < 3 else []
        if origin is Literal:
            return arguments[0]
        if hint in SIMPLE:
            return SIMPLE[hint]
        if hint is self._types.File:
            return self._types.File(io.BytesIO(b"apple"), "pie.txt", "text/plain")
        if issubclass(hint, enum.Enum):
            return next(iter(hint))
        return self._model(hint, depth + 1)

    def _model(self, model: Any, depth: int) -> Any:
        hints = get_type_hints(model, localns=self._models)
        parameters = inspect.signature(model).parameters.values()
        return model(
            **{
                one.name: self._value(hints[one.name], depth)
                for one in parameters
                if self._has(one) and depth < 4
            }
        )


def clients_of(package: Any, url: str) -> dict[str, Any]:
    """Return clients that are logged in by each scheme, and one that is not."""
    basic = base64.b64encode(b"ann:pie").decode()
    return {
        "BearerAuth": package.AuthenticatedClient(base_url=url, token="pie"),
        "BasicAuth": package.AuthenticatedClient(base_url=url, token=basic, prefix="Basic"),
        "": package.Client(base_url=url),
    }


def schemes_of(operation: dict[str, Any]) -> list[str]:
    return [name for scheme in operation.get("security", ()) for name in scheme]


def calls_of(
    package: Any, document: dict[str, Any], url: str
) -> Iterator[tuple[str, bool, str, int]]:
    """Call each function of a client: without optional values, with them, and without a log-in.

    Yield the operation, whether optional values were sent, the scheme and the status. Fails for an
    answer that is not stated, or that the client could not read.
    """
    functions, operations = functions_of(package), operations_of(document)
    assert {*functions} == {*operations}
    clients = clients_of(package, url)
    with ExitStack() as opened:
        for client in clients.values():
            opened.enter_context(client)
        for name, function in functions.items():
            if any(part in LEFT_OUT for part in name.split("_")):
                continue
            scheme, *others = [*schemes_of(operations[name]), ""]
            if scheme not in clients:
                scheme = ""
            for is_full, own in [
                (False, scheme),
                (True, scheme),
                *((False, one) for one in others),
            ]:
                arguments = Arguments(package, is_full=is_full).of_function(function.sync_detailed)
                answer = function.sync_detailed(client=clients[own], **arguments)
                status = int(answer.status_code)
                assert status < 500, (name, status)
                responses = operations[name]["responses"]
                told = responses.get(str(status), responses["default"])
                is_read = not READ.isdisjoint(told.get("content", ()))
                may_be_none = any("null" in str(one) for one in told.get("content", {}).values())
                assert answer.parsed is not None or not is_read or may_be_none, (name, status)
                yield name, is_full, own, status


# What openapi-python-client reads of an answer: it has no words for pages and events.
READ = {"application/json", "application/problem+json", "text/html", "text/plain"}


def with_one_body(document: dict[str, Any]) -> dict[str, Any]:
    """Return a document whose operations take a form where they take JSON as well.

    What openapi-python-client generates for both does not import a name that it uses.
    """
    for path in document["paths"].values():
        for operation in path.values():
            content = operation.get("requestBody", {}).get("content", {})
            if len(content) > 1:
                content.pop("application/json")
    return document


def run_example(name: str, folder: Path) -> tuple[dict[str, Any], list[int]]:
    """Return the document of an example, and the statuses that its client got."""
    place = ROOT / "examples" / name
    is_tutorial = name in TUTORIALS
    target = "app:app" if is_tutorial else f"examples.{name}.app:app"
    env = {**unmeasured(), "PYTHONPATH": f"{place}:{ROOT}" if is_tutorial else str(ROOT)}
    told = "import json; from {0} import app; print(json.dumps(app.openapi()))"
    printed = subprocess.check_output(
        [sys.executable, "-c", told.format(target.partition(":")[0])], cwd=folder, env=env
    )
    document = json.loads(printed.splitlines()[-1])
    document = with_one_body(document)
    package = generate(document, folder, f"client_of_{re.sub('[^a-z0-9]', '_', name)}")
    with serving(target, environ=env) as server_of:
        url = f"http://127.0.0.1:{server_of('uvicorn').port}"
        return document, [status for *_, status in calls_of(package, document, url)]


def check_types(documents: dict[str, dict[str, Any]], folder: Path) -> None:
    """Have openapi-typescript make types of documents, and TypeScript's compiler check them."""
    subprocess.run(
        ["npm", "install", "--silent", "--no-save", "--prefix", str(folder), *TOOLS], check=True
    )
    tools = folder / "node_modules" / ".bin"
    for name, document in documents.items():
        path = folder / f"{name.replace('/', '_')}.json"
        path.write_text(json.dumps(document))
        made = subprocess.run(
            [tools / "openapi-typescript", path, "-o", path.with_suffix(".ts")],
            capture_output=True,
            text=True,
            check=False,
        )
        said = made.stdout + made.stderr
        assert made.returncode == 0, said
        assert "warn" not in said.lower(), said
    options = ["--noEmit", "--strict", "--target", "es2022", "--skipLibCheck", "false"]
    subprocess.run([tools / "tsc", *options, *folder.glob("*.ts")], check=True)


def main() -> None:
    from tests.openapi.topics import topics

    documents = {name: topic.openapi() for name, topic in topics().items()}
    failures = []
    with tempfile.TemporaryDirectory() as scratch:
        sys.path.insert(0, scratch)
        for name in (*EXAMPLES, *TUTORIALS):
            try:
                documents[name], statuses = run_example(name, Path(scratch))
            except Exception as error:
                failures.append(name)
                print(f"{name}: FAILED {type(error).__name__}: {error}", flush=True)
                continue
            seen = ", ".join(f"{status}: {many}" for status, many in Counter(statuses).items())
            print(f"{name}: {len(statuses)} calls, {seen}", flush=True)
        if shutil.which("npm"):
            (types_in := Path(scratch) / "types").mkdir()
            check_types(documents, types_in)
            print(f"openapi-typescript and tsc: {len(documents)} documents without a warning")
        else:
            failures.append("openapi-typescript")
            print("openapi-typescript: please install npm")
    sys.exit(f"failed: {', '.join(failures)}" if failures else 0)


if __name__ == "__main__":
    main()
