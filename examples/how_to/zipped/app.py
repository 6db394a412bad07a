from pathlib import Path
from zipfile import ZIP_DEFLATED, ZipFile, ZipInfo

from micropie import App, Response

FOLDER = Path("documents")


class Written:
    """A file for ``ZipFile``. ``take`` returns what was written since the last call."""

    def __init__(self):
        self._chunks = []

    def write(self, data):
        self._chunks.append(bytes(data))
        return len(data)

    def flush(self): ...

    def take(self):
        data = b"".join(self._chunks)
        self._chunks.clear()
        return data


def zipped(files):
    written = Written()
    with ZipFile(written, "w") as archive:
        for path in files:
            entry = ZipInfo.from_file(path, path.name, strict_timestamps=False)
            entry.compress_type = ZIP_DEFLATED  # not for pictures, which are compressed already
            with path.open("rb") as file, archive.open(entry, "w") as output:
                while chunk := file.read(64 * 1024):
                    output.write(chunk)
                    yield written.take()
    yield written.take()  # the directory of the archive


class Documents(App):
    def all(self):
        files = sorted(path for path in FOLDER.iterdir() if path.is_file())
        headers = {"Content-Disposition": 'attachment; filename="documents.zip"'}
        return Response(zipped(files), 200, headers, content_type="application/zip")


app = Documents()
