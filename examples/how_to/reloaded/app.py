import os
from pathlib import Path

import anyio

from micropie import App, EventStream, event, template

PAGE = """
<h1>Pies</h1>
{% if debug %}<script>
let seen = false;
new EventSource("{{ url_for('changes') }}").onmessage = () => {
  if (seen) location.reload();
  seen = true;
};
</script>{% endif %}
"""


def last_change(folders):
    files = [file for folder in folders for file in Path(folder).rglob("*")]
    return max((file.stat().st_mtime_ns for file in files), default=0)


async def changes_in(folders):
    before = None
    while True:
        changed = await anyio.to_thread.run_sync(last_change, folders)
        if changed != before:
            yield event("changed")  # the first event says that the server has started
        before = changed
        await anyio.sleep(0.3)


def reload_pages(app, *folders):
    @app.get("/changes")
    async def changes():
        return EventStream(changes_in(folders))


class Shop(App):
    def index(self):
        return template(source=PAGE)


DEBUG = os.environ.get("DEBUG") == "1"
app = Shop(debug=DEBUG, template_globals={"debug": DEBUG})
if DEBUG:
    reload_pages(app, "templates", "static")
