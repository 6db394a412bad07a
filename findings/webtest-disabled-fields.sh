#!/usr/bin/env bash
# Expected: a test client submits the fields of a form that a browser submits.
# Seen: WebTest submits disabled inputs, the inputs of a disabled fieldset, a disabled option that
# is selected at first, and the value of a reset button. A browser sends none of them.
# MechanicalSoup leaves out the disabled input, but submits the rest.
# It matters because a page disables the fields that a user mustn't change, or has to choose yet
# ("Choose a size"): the test passes with values that no browser sends, and in production the
# handler gets a form without these fields.
# WebTest 3.0.7, MechanicalSoup 1.4.0;
# https://html.spec.whatwg.org/multipage/form-control-infrastructure.html ("Constructing the entry
# list"); https://github.com/Pylons/webtest/blob/main/webtest/forms.py
set -eu

folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
PATH="$folder/venv/bin:$PATH"
pip install --quiet --disable-pip-version-check 'WebTest==3.0.7' 'MechanicalSoup==1.4.0'
python --version
pip freeze

cat >program.py <<'EOF'
import sys

import mechanicalsoup
import webtest

PAGE = """\
<form method="post" action="/">
<input name="pie" value="apple">
<input name="price" value="5" disabled>
<fieldset disabled><input name="discount" value="3"></fieldset>
<select name="size"><option value="choose" selected disabled>Choose a size</option>
<option value="small">Small</option></select>
<input type="reset" name="clear" value="Clear">
</form>
"""


def app(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/html")])
    return [PAGE.encode()]


form = webtest.TestApp(app).get("/").form
browser = mechanicalsoup.StatefulBrowser()
browser.open_fake_page(PAGE, url="http://localhost/")
soup = browser.select_form()
seen = {
    "a browser": [("pie", "apple")],
    "WebTest": [tuple(field) for field in form.submit_fields()],
    "MechanicalSoup": mechanicalsoup.Browser.get_request_kwargs(soup.form)["data"],
}
for name, fields in seen.items():
    print(f"{name}: {fields}")
more = [("discount", "3"), ("size", "choose"), ("clear", "Clear")]
if list(seen.values())[1:] != [
    [("pie", "apple"), ("price", "5"), *more],
    [("pie", "apple"), *more],
]:
    sys.exit("The behaviour has changed.")
EOF
python program.py
