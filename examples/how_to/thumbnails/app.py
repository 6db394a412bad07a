import secrets
import tempfile
from io import BytesIO
from pathlib import Path

from PIL import Image, UnidentifiedImageError

from micropie import App, HTTPError, Redirect, UploadFile, max_body_size, post, template
from micropie.testing import TestClient

SUFFIXES = {"PNG": ".png", "JPEG": ".jpg", "WEBP": ".webp"}
Image.MAX_IMAGE_PIXELS = 50_000_000  # a small file can be a huge picture

PAGE = """
<form method="post" action="{{ url_for('add') }}" enctype="multipart/form-data">
  {{ csrf_input }}
  <input type="file" name="picture" accept="image/png,image/jpeg,image/webp" required>
  <button>Send</button>
</form>
{% for name in names %}
<a href="{{ url_for('pictures', path=name) }}">
<img src="{{ url_for('thumbnails', path=name) }}"></a>
{% endfor %}
"""


class Album(App):
    def __init__(self, folder, **settings):
        super().__init__(**settings)
        self._pictures, self._thumbnails = Path(folder, "pictures"), Path(folder, "thumbnails")
        for directory in (self._pictures, self._thumbnails):
            directory.mkdir(parents=True, exist_ok=True)
        self.static("/pictures", self._pictures, name="pictures")
        self.static("/thumbnails", self._thumbnails, name="thumbnails")

    def index(self):
        return template(source=PAGE, names=sorted(path.name for path in self._thumbnails.iterdir()))

    @post
    @max_body_size(20 * 1024**2)
    def add(self, picture: UploadFile):
        try:
            with Image.open(picture.file, formats=list(SUFFIXES)) as image:
                name = secrets.token_hex(8) + SUFFIXES[image.format]
                image.thumbnail((200, 200))
                image.save(self._thumbnails / name)
        except (UnidentifiedImageError, Image.DecompressionBombError, OSError):
            raise HTTPError(422, "Please send a PNG, JPEG or WebP picture.") from None
        picture.seek(0)
        (self._pictures / name).write_bytes(picture.read())
        return Redirect(self.url_for("index"))


app = Album(tempfile.mkdtemp())


def test_a_picture_gets_a_thumbnail():
    sent = BytesIO()
    Image.new("RGB", (800, 600), "brown").save(sent, "PNG")
    with TestClient(app, follow_redirects=True) as client:
        page = client.post("/add", files={"picture": ("../pie.png", sent.getvalue())})
        small = client.get(page.text.partition('<img src="')[2].partition('"')[0])
        with Image.open(BytesIO(small.content)) as image:
            assert image.size == (200, 150)
