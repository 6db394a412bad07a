from pathlib import Path

from celery import Celery

from micropie import App, request
from micropie.extensions import Outside
from tests.works_with import jobs

app = Celery(broker=jobs.REDIS)
write = app.task(jobs.write)

site = App()


class Lines:
    def __init__(self) -> None:
        self.line = "done\n"


site.provides(Lines)(Lines)


@app.task
def write_by_resource(path: str) -> None:
    with Outside(site), request.resource(Lines) as lines:
        Path(path).write_text(lines.line)
