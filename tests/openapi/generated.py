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
from contextlib import ExitStack
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints
from uuid import UUID

from tests.openapi.plans import PLANS
from tests.openapi.provoked import NOBODY, NOTHING_OWN, Plan, Provoker, operations_of
from tests.servers.harness import serving
from tests.support.commands import ended
from tests.support.environment import unmeasured

ROOT = Path(__file__).parent.parent.parent
EXAMPLES = (
    *("album", "api", "blog", "chat", "events", "forms", "hello", "live", "login", "paste"),
    *("primes", "shortener", "streaming", "subapps", "tour", "upload"),
)
# The others have pages alone.
TUTORIALS = ("tutorial/api/step7",)
SERVED = "tests.openapi.served:app"
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
    made = ended(
        sys.executable,
        "-m",
        "openapi_python_client",
        "generate",
        *options,
        folder=folder,
        environ=unmeasured(),
    )
    assert made.returncode == 0, made.stdout + made.stderr
    importlib.invalidate_caches()
    return importlib.import_module(name)


def functions_of(package: Any) -> dict[str, Any]:
    """Return the module of each operation by the operation's name."""
    found = pkgutil.walk_packages(package.__path__, f"{package.__name__}.")
    names = [one.name for one in found if ".api." in one.name and not one.ispkg]
    return {name.rpartition(".")[2].rstrip("_"): importlib.import_module(name) for name in names}


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


def clients_of(package: Any, url: str, plan: Plan) -> dict[str, Any]:
    """Return clients that are logged in by each scheme, and two that are not."""
    basic = base64.b64encode(b"ann:pie").decode()
    return {
        "BearerAuth": package.AuthenticatedClient(base_url=url, token="pie"),
        "BasicAuth": package.AuthenticatedClient(base_url=url, token=basic, prefix="Basic"),
        "": package.Client(base_url=url),
        NOBODY: package.Client(base_url=url),
        **{name: package.Client(base_url=url, **one) for name, one in plan.log_ins.items()},
    }


def provoked(
    package: Any, document: dict[str, Any], url: str, plan: Plan = NOTHING_OWN
) -> Provoker:
    """Call each function of a client without optional values and with them, and provoke what is
    declared.

    Fails for an answer that is not declared, or that the client reads otherwise.
    """
    modules = functions_of(package)
    operations = operations_of(document, modules)
    clients = clients_of(package, url, plan)
    provoker = Provoker(operations, clients, plan)
    with ExitStack() as opened:
        for client in clients.values():
            opened.enter_context(client)
            # as a browser says of the site's own forms
            client.get_httpx_client().headers["Origin"] = url
        headers = plan.prepare(clients[""].get_httpx_client())
        for scheme, client in clients.items():
            if scheme != NOBODY:
                client.get_httpx_client().headers.update(headers)
                client.get_httpx_client().cookies.update(clients[""].get_httpx_client().cookies)
        for name in sorted(operations, key=lambda one: one not in plan.first):
            operation = operations[name]
            minimal, full = (
                {
                    **Arguments(package, is_full=is_full).of_function(
                        operation.module.sync_detailed
                    ),
                    **plan.values.get(name, {}),
                }
                for is_full in (False, True)
            )
            answer = provoker.call(operation, minimal, full)
            provoker.provoke(operation, minimal, answer)
    return provoker


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


def run_example(name: str, folder: Path) -> tuple[dict[str, Any], Provoker]:
    """Return the document of an example, and what its client got."""
    place = ROOT / "examples" / name
    is_tutorial = name in TUTORIALS
    target = "app:app" if is_tutorial else f"examples.{name}.app:app"
    env = {
        **unmeasured(),
        "PYTHONPATH": f"{place}:{ROOT}" if is_tutorial else str(ROOT),
        "TMPDIR": str(folder),  # where examples keep their databases
        "DATABASE_URL": f"sqlite:///{folder}/recipes.db",
    }
    told = "import json; from {0} import app; print(json.dumps(app.openapi()))"
    printed = subprocess.check_output(
        [sys.executable, "-c", told.format(target.partition(":")[0])], cwd=folder, env=env
    )
    document = json.loads(printed.splitlines()[-1])
    document = with_one_body(document)
    package = generate(document, folder, f"client_of_{re.sub('[^a-z0-9]', '_', name)}")
    with serving(SERVED, environ={**env, "SERVED": target}) as server_of:
        url = f"http://127.0.0.1:{server_of('uvicorn').port}"
        return document, provoked(package, document, url, PLANS.get(name, NOTHING_OWN))


def check_types(documents: dict[str, dict[str, Any]], folder: Path) -> None:
    """Have openapi-typescript make types of documents, and TypeScript's compiler check them."""
    subprocess.run(
        ["npm", "install", "--silent", "--no-save", "--prefix", str(folder), *TOOLS], check=True
    )
    tools = folder / "node_modules" / ".bin"
    for name, document in documents.items():
        path = folder / f"{name.replace('/', '_')}.json"
        path.write_text(json.dumps(document))
        made = ended(tools / "openapi-typescript", path, "-o", path.with_suffix(".ts"))
        said = made.stdout + made.stderr
        assert made.returncode == 0, said
        assert "warn" not in said.lower(), said
    options = ["--noEmit", "--strict", "--target", "es2022", "--skipLibCheck", "false"]
    subprocess.run([tools / "tsc", *options, *folder.glob("*.ts")], check=True)


def main() -> None:
    from tests.openapi.topics import topics

    documents = {f"topics/{name}": topic.openapi() for name, topic in topics().items()}
    failures = []
    with tempfile.TemporaryDirectory() as scratch:
        sys.path.insert(0, scratch)
        for name in (*EXAMPLES, *TUTORIALS):
            try:
                documents[name], provoker = run_example(name, Path(scratch))
            except Exception as error:
                failures.append(name)
                print(f"{name}: FAILED {type(error).__name__}: {error}", flush=True)
                continue
            print(f"{name}: {provoker.told()}", flush=True)
            if provoker.missing():
                failures.append(name)
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
