"""Django in one file, as a WSGI and as an ASGI application."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

from django.conf import settings
from django.core.asgi import get_asgi_application
from django.core.handlers.asgi import ASGIRequest
from django.core.wsgi import get_wsgi_application
from django.http import FileResponse, HttpRequest, HttpResponse, JsonResponse, StreamingHttpResponse
from django.middleware.csrf import get_token
from django.shortcuts import redirect
from django.urls import path, reverse
from django.views.decorators.csrf import csrf_exempt

PREFIX_WSGI = "/django"
PREFIX_ASGI = "/django-asgi"
FILES = Path(__file__).parent / "files"

settings.configure(
    ALLOWED_HOSTS=["*"],
    SECRET_KEY="oven" * 16,
    ROOT_URLCONF=__name__,
    MIDDLEWARE=[
        "django.middleware.http.ConditionalGetMiddleware",
        "django.contrib.sessions.middleware.SessionMiddleware",
        "django.middleware.common.CommonMiddleware",
        "django.middleware.csrf.CsrfViewMiddleware",
    ],
    SESSION_ENGINE="django.contrib.sessions.backends.signed_cookies",
    LOGGING_CONFIG=None,
    USE_I18N=False,
)


def index(request: HttpRequest) -> HttpResponse:
    return HttpResponse(f"{reverse('index')} {reverse('where', args=['thé/re'])}")


def where(request: HttpRequest, below: str = "") -> HttpResponse:
    return JsonResponse(
        {
            "below": below,
            "script_name": request.META["SCRIPT_NAME"],
            "path": request.path,
            "path_info": request.path_info,
            "url": request.build_absolute_uri(),
            "query": sorted(request.GET.items()),
            "client": request.META["REMOTE_ADDR"],
            "headers": sorted(
                (name, value) for name, value in request.headers.items() if name != "Connection"
            ),
        }
    )


def form(request: HttpRequest) -> HttpResponse:
    if request.method == "GET":
        return HttpResponse(
            f'<input type="hidden" name="csrfmiddlewaretoken" value="{get_token(request)}">'
        )
    request.session["name"] = request.POST["name"]
    return redirect("done")


def done(request: HttpRequest) -> HttpResponse:
    return HttpResponse(f"done, {request.session.get('name')}")


def stream(request: HttpRequest) -> StreamingHttpResponse:
    chunks = [f"{number} slices of pie\n" for number in range(100)]

    def each() -> Iterator[str]:
        yield from chunks

    async def each_async() -> AsyncIterator[str]:
        for chunk in chunks:
            yield chunk

    is_async = isinstance(request, ASGIRequest)
    return StreamingHttpResponse(each_async() if is_async else each(), content_type="text/plain")


async def later(request: HttpRequest) -> HttpResponse:
    return HttpResponse(f"later at {reverse('later')}")


def file(request: HttpRequest) -> FileResponse:
    return FileResponse((FILES / "pie.txt").open("rb"), as_attachment=True, filename="pié.txt")


@csrf_exempt
def upload(request: HttpRequest) -> HttpResponse:
    told = [
        (file.name, file.size, file.content_type, hashlib.sha256(file.read()).hexdigest())
        for file in request.FILES.getlist("file")
    ]
    return JsonResponse({"name": request.POST["name"], "files": told})


@csrf_exempt
def echo(request: HttpRequest) -> HttpResponse:
    return HttpResponse(
        b"<" + request.body + b">", content_type="application/octet-stream", status=201
    )


def cookies(request: HttpRequest) -> HttpResponse:
    response = HttpResponse(str(sorted(request.COOKIES)))
    response.set_cookie("a", "1")
    response.set_cookie("b", "2", max_age=60, samesite="Lax")
    return response


def boom(request: HttpRequest) -> HttpResponse:
    raise ValueError("oh")


urlpatterns = [
    path("", index, name="index"),
    path("where/<path:below>", where, name="where"),
    path("form/", form),
    path("done/", done, name="done"),
    path("stream/", stream),
    path("later/", later, name="later"),
    path("file/", file),
    path("upload/", upload),
    path("echo/", echo),
    path("cookies/", cookies),
    path("boom/", boom),
]

wsgi = get_wsgi_application()
asgi = get_asgi_application()
