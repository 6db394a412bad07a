import logging
import secrets
import time
from dataclasses import dataclass, field

import anyio

from micropie import App, EventStream, HTTPError, Redirect, event, post, progress, template

PAGES = """
{% if not job %}
<form method="post" action="{{ url_for('start') }}">{{ csrf_input }}
<input name="pages" type="number" value="100"> pages <button>Write</button></form>
{% else %}
<progress id="bar" max="100" value="0"></progress> <output id="state"></output>
{% for action in ("cancel", "retry") %}
<form method="post" action="{{ url_for(action, job) }}">{{ csrf_input }}
<button>{{ action }}</button></form>
{% endfor %}
<script>
  const source = new EventSource("{{ url_for('events', job) }}");
  source.onmessage = (event) => {
    const { state, percent } = JSON.parse(event.data);
    document.getElementById("bar").value = percent;
    document.getElementById("state").textContent = state;
  };
  source.addEventListener("end", () => source.close());
</script>
{% endif %}
"""
log = logging.getLogger("reports")
ENDS = ("done", "failed", "cancelled")


class TryAgain(Exception):
    """A service is unavailable."""


def write(pages):  # runs in a process
    for page in range(1, pages + 1):
        time.sleep(0.01)  # stands for the work, which may raise TryAgain
        progress(page, pages)
    return f"{pages} pages"


@dataclass
class Job:
    pages: int
    key: str = field(default_factory=lambda: secrets.token_urlsafe(16))
    state: str = "waiting"
    percent: int = 0
    result: str | None = None
    ended: float = 0
    scope: anyio.CancelScope = field(default_factory=anyio.CancelScope)


class Reports(App):
    delays = (5, 60)  # seconds before the second and the third attempt

    def __init__(self, write=write, **settings):
        super().__init__(pool_timeout=3600, background_timeout=600, **settings)
        self._write, self._jobs = write, {}

    def index(self):
        return template(source=PAGES)

    @post
    async def start(self, pages: int = 10):
        for old in [*self._jobs.values()]:
            if old.state in ENDS and old.ended < time.time() - 3600:
                del self._jobs[old.key]
        job = Job(pages)
        self._jobs[job.key] = job
        self.request.after_response(self._run, job)
        return Redirect(self.url_for("show", job.key))

    def show(self, key):
        return template(source=PAGES, job=self._job(key).key)

    async def status(self, key):
        job = self._job(key)
        return {"state": job.state, "percent": job.percent, "result": job.result}

    @post
    async def cancel(self, key):
        self._job(key).scope.cancel()  # ends the process
        return Redirect(self.url_for("show", key))

    @post
    async def retry(self, key):
        job = self._job(key)
        if job.state not in ("failed", "cancelled"):
            raise HTTPError(409, "This job hasn't failed.")
        self._set(job, state="waiting", percent=0, scope=anyio.CancelScope())
        self.request.after_response(self._run, job)
        return Redirect(self.url_for("show", key))

    async def events(self, key):
        return EventStream(self._events(self._job(key)))

    async def _run(self, job):
        state = "cancelled"
        with job.scope:
            state = await self._attempts(job)
        self._set(job, state=state, ended=time.time())

    async def _attempts(self, job):
        def report(step):
            self._set(job, state="running", percent=int(step.done * 100 / step.total))

        for delay in (*self.delays, None):
            try:
                job.result = await self.pool.run(self._write, job.pages, on_progress=report)
            except TryAgain:
                if delay is not None:
                    self._set(job, state="waiting")
                    await anyio.sleep(delay)
            except Exception:
                log.exception("a job failed")
                break
            else:
                return "done"
        return "failed"

    def _set(self, job, **values):
        for name, value in values.items():
            setattr(job, name, value)
        self.channels.publish(job.key, None)  # if the job writes to a database, commit first

    async def _events(self, job):
        async with self.channels.subscribe(job.key) as changes:
            while True:  # read the job after the subscription has begun, so nothing is missed
                state = job.state  # it may change while the event is sent
                yield event({"state": state, "percent": job.percent})
                if state in ENDS:
                    yield event("", event="end")
                    return
                await anext(changes)

    def _job(self, key):
        if key not in self._jobs:
            raise HTTPError(404, "There is no such job.")
        return self._jobs[key]


app = Reports()
