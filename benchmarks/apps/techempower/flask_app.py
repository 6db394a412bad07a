from typing import Any

from flask import Flask, Response, jsonify, render_template, request

from benchmarks.apps.techempower import data

app = Flask(__name__, template_folder=str(data.TEMPLATES))


@app.get("/plaintext")
def plaintext() -> Any:
    return Response("Hello, World!", mimetype="text/plain")


@app.get("/json")
def json() -> Any:
    return {"message": "Hello, World!"}


@app.get("/db")
def db() -> Any:
    return data.worlds(1)[0]


@app.get("/queries")
def queries() -> Any:
    return jsonify(data.worlds(data.count_of(request.args.get("n"))))


@app.get("/fortunes")
def fortunes() -> Any:
    return render_template("fortunes.html", fortunes=data.fortunes())


@app.get("/updates")
def updates() -> Any:
    return jsonify(data.updated(data.count_of(request.args.get("n"))))


def make_wsgi() -> Any:
    return app
