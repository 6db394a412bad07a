import csv
from collections.abc import Iterator

from micropie import App, Response

PIES = [("apple", 4, "warm, with cream"), ("plum", 5, "=1+1")]


class Line:  # write returns the text, so writerow returns it too
    def write(self, text: str) -> str:
        return text


def safe(value: object) -> object:  # a spreadsheet would run a formula
    is_formula = isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t", "\r"))
    return f"'{value}" if is_formula else value


class Shop(App):
    def pies(self) -> Response:
        headers = {"Content-Disposition": 'attachment; filename="pies.csv"'}
        return Response(self._lines(), 200, headers, content_type="text/csv; charset=utf-8")

    def _lines(self) -> Iterator[str]:
        write = csv.writer(Line()).writerow
        yield "\ufeff" + write(["name", "price", "note"])  # with this mark Excel reads UTF-8
        for row in PIES:
            yield write([safe(value) for value in row])


app = Shop()
