"""What is asked of the applications on Bottle."""

from __future__ import annotations

from compat.tests.asking import (
    asks,
    basic,
    form,
    forms,
    gets,
    gets_with,
    json,
    sent,
    talk,
    upload,
    with_header,
)
from compat.tests.exchange import Ask

EPOCH = "Thu, 01 Jan 1970 00:00:10 GMT"
LATER = "Fri, 01 Jan 2055 00:00:00 GMT"

CONVERSATIONS = [
    # -- the tutorial ------------------------------------------------------------------------------
    talk(
        "routes",
        "tutorial",
        gets("""
            / /hello/ann /hello/ /hello /hello/a/b /hello/%C3%A9 /hello/a%20b /hello/a+b
            /hello/%2Fx /either /or /Either /either/ //either /nothing /hello/%FF /?a=1
            /hello/a%3Cb%3E /hello/. /hello/..%2e
        """),
    ),
    talk(
        "filters",
        "tutorial",
        gets("""
            /thing/5 /thing/-5 /thing/x /thing/5x /thing/ /thing/007 /thing/1.5 /thing/+5
            /float/1.5 /float/-.5 /float/5 /float/x /float/1.2.3 /float/1e5 /word/abc /word/ABC
            /word/abc1 /code/AB123/x /code/AB12/x /code/ab123/x /files/a/b/c /files/ /files/a//b
            /files/a%2Fb /between/a/b/end /between/end /between/x/end/end /anonymous/12/ann
            /anonymous/x/ann /word/%C3%A9
        """),
    ),
    talk(
        "patterns",
        "tutorial",
        gets("""
            /old/ann /old/12/x /old/a/x /pair/a-b /pair/a-b-c /pair/ab /suffix/a.txt
            /suffix/a.b.txt /suffix/a.html /first/x /first/static /escaped:colon
            /escaped%3Acolon /escaped/%3Cx%3E /groups/ac/y /groups/c/y /groups/bc/a-b /groups/bc/a-
            /year/2024 /year/x /list/1,2 /list/a
        """),
    ),
    talk(
        "methods",
        "tutorial",
        asks("PUT", "/thing/5 /thing/x"),
        asks("DELETE", "/thing/5 /"),
        asks("PATCH LINK", "/thing/5"),
        asks("POST", "/thing/5 / /any /nothing"),
        asks("GET", "/any"),
        asks("HEAD", "/any / /thing/5 /nothing /sign-in /word/x /hello/%C3%A9"),
        asks("OPTIONS", "/ /any /thing/5"),
        asks("PROPFIND", "/any /thing/5"),
        asks("GET HEAD POST", "/head"),
    ),
    talk(
        "a form to sign in",
        "tutorial",
        gets("/sign-in"),
        forms(
            "/sign-in",
            "user=ann&secret=xyz",
            "user=ann&secret=wrong",
            "",
            "user=ann&user=bob&secret=xyz",
            "user=bob&user=ann&secret=xyz",
        ),
        asks("PUT", "/sign-in"),
    ),
    talk(
        "static files",
        "tutorial",
        gets("""
            /static/note.txt /static/style.css /static/page.html /static/data.json
            /static/numbers.bin /static/folder/index.html /static/folder /static/folder/
            /static/none.txt /static/ /static/../apps/bottle_tutorial.py
            /static/%2e%2e/exchange.py /static//etc/passwd /static/folder/../note.txt
            /download/note.txt /download/style.css /download-as /download-as?odd=1 /typed
            /headed /tagged /guess/text_plain /guess/image_png /guess/none /guess/text
            /static/note.txt%00 /static/packed.tar.gz /static/picture.svg.bz2
        """),
        asks("HEAD", "/static/note.txt /static/numbers.bin /static/none.txt"),
        asks("POST", "/static/note.txt"),
    ),
    talk(
        "conditional requests and ranges",
        "tutorial",
        gets("/static/note.txt"),
        Ask("GET", "/static/note.txt", with_header("If-None-Match", "etag")),
        gets("/static/note.txt"),
        Ask("GET", "/static/note.txt", with_header("If-Modified-Since", "last-modified")),
        gets("/static/note.txt", If_Modified_Since=EPOCH),
        gets("/static/note.txt", If_Modified_Since=LATER),
        gets("/static/note.txt", If_Modified_Since="nonsense"),
        gets("/static/note.txt", If_None_Match='"other"'),
        gets("/tagged", If_None_Match="my-own"),
        gets_with(
            "/static/numbers.bin",
            "Range",
            "bytes=0-9",
            "bytes=1000-",
            "bytes=-10",
            "bytes=5-5",
            "bytes=1020-5000",
            "bytes=5000-6000",
            "bytes=9-5",
            "bytes=x-y",
            "lines=0-9",
            "bytes=-0",
            "bytes=0-1,4-5",
        ),
        asks("HEAD", "/static/numbers.bin", Range="bytes=0-9"),
    ),
    talk(
        "errors and redirects",
        "tutorial",
        gets("""
            /restricted /refused /teapot /teapot?json=1 /wrong /wrong/301 /wrong/307 /relative/here /absolute
            /to?x=/a%0D%0AX-Evil:1 /to?x=%0A/a%09b /to?x=//other%0D.example
            /to?x=https://a/%0D%0AX-Evil:1 /header?x=a%0D%0AX-Evil:1 /header?x=%0D
            /header?x=a%09b /to?x=%20 /cookie-and-redirect /right /raised /returned
            /error-raised /error-returned /lost /crash
        """),
        asks("POST", "/wrong /crash"),
        asks("HEAD", "/wrong /restricted /crash /refused"),
    ),
    # -- what a request brings ---------------------------------------------------------------------
    talk(
        "queries",
        "input",
        gets("""
            /query /query?name=ann /query?name=ann&name=bob /query?name=%C3%A9
            /query?name=a+b&n=5 /query?n=x /query?name /query?name= /query?=x /query?name=a%26b
            /query?&&name=1& /query?name=a;b /query-all?a=1&b=2&a=3 /query-all?%C3%A9=%C3%BC
            /query-all?a=%FF /query-item?name=x /query-item /query-string?a=1&b=%20
            /query-string /query-all?a=1;b=2
        """),
    ),
    talk(
        "forms",
        "input",
        forms("/form", "name=ann", "name=%C3%A9", "name=ann&name=bob", "", "name=a+b%26c"),
        forms("/form-raw", "name=ann", "name=%C3%A9"),
        forms("/form-all", "b=2&a=1&a=%C3%BC", "a"),
        sent("/form-all", b"a=1&b=2", "text/plain"),
        sent("/form-all", b"a=1", ""),
        sent("/form-all", b"a=1", "Application/X-WWW-Form-Urlencoded; charset=utf-8"),
        form("/params?a=query&b=2", "a=form&c=3"),
        gets("/params?a=1"),
        forms("/number", "n=5", "n=x", ""),
        form("/post", "a=1&b=2"),
        form("/form", b"name=" + b"x" * 200_000),
        form("/form", "name=ann", "PUT"),
        sent("/form", b"x" * 200_000, "text/plain"),
        sent("/form", b"name=%C3%A4", "text/plain"),
    ),
    talk(
        "uploads",
        "input",
        upload(
            "/upload",
            ("file", "a.txt", "text/plain", b"content"),
            ("note", None, "", "né".encode()),
        ),
        upload("/upload", ("file", "../../etc/pass wd", "text/plain", b"x")),
        upload("/upload", ("file", "ünï.txt", "", b"x")),
        upload("/upload", ("file", "", "application/octet-stream", b"")),
        upload("/upload", ("file", "C:\\dir\\name.txt", "text/plain", b"x")),
        upload("/upload", ("note", None, "", b"alone")),
        upload(
            "/upload", ("file", "big.bin", "application/octet-stream", bytes(range(256)) * 1000)
        ),
        upload("/uploads", ("file", "a", "text/plain", b"1"), ("file", "b", "text/plain", b"2")),
        upload("/form", ("name", None, "", "é".encode())),
        upload("/form-raw", ("name", None, "", "é".encode())),
        upload("/post", ("a", None, "", b"1"), ("f", "f.txt", "text/plain", b"2")),
        upload("/post", ("a", None, "", b"1"), ("f", "", "application/octet-stream", b"")),
        upload("/form", ("name", "", "application/octet-stream", b"")),
        sent("/upload", b"--x\r\nbroken", "multipart/form-data; boundary=x"),
        sent("/upload", b"anything", "multipart/form-data"),
        sent(
            "/upload",
            b"--x\r\nContent-Disposition: form-data; name=name\r\n\r\nb",
            "multipart/form-data; boundary=x",
        ),
        form("/upload", "file=text"),
    ),
    talk(
        "JSON and bodies",
        "input",
        json("/json", {"a": [1, None, "é"]}),
        json("/json", 5),
        json("/json", [], "PUT"),
        sent("/json", b"{broken", "application/json"),
        sent("/json", b"nope", "application/json"),
        sent("/json", b"[NaN, 1]", "application/json; charset=utf-8"),
        sent("/json", b"", "application/json"),
        sent("/json", b'{"a": 1}', "text/plain"),
        sent("/json", b'{"a": 1}', "application/json; charset=utf-8"),
        sent("/json", b'{"a": 1}', "application/json-rpc"),
        sent("/json", b'{"a": 1}', "Application/JSON"),
        sent("/json", b'{"a": "\xff"}', "application/json"),
        sent("/json", b'"' + b"x" * 150_000 + b'"', "application/json"),
        sent("/body", b"anything at all", "application/octet-stream"),
        sent("/body", b"", ""),
        sent("/body", b"abc", "Text/Plain; charset=x"),
        sent("/json", b'"' + b"x" * 150_000 + b'"', "application/json", "PUT"),
        sent("/body", b"z" * 300_000, "text/plain"),
    ),
    talk(
        "headers and addresses",
        "input",
        gets("/headers", X_Token="abc", X_Other="o"),
        gets("/headers /header-missing /about/a/b?c=d /about/%C3%A9?x=%C3%A9 /about/a%20b"),
        gets("/about/x", X_Requested_With="XMLHttpRequest"),
        gets("/about/x", Host="other.example:99"),
        gets("/about/x", X_Forwarded_For="10.0.0.1, 10.0.0.2"),
        gets("/about/x", X_Forwarded_Host="forwarded.example", X_Forwarded_Proto="https"),
        gets("/about/x", Authorization=basic("ann", "xyz")),
        gets("/about/x", Authorization="Basic broken!"),
        form("/about/x", "a=1"),
        asks("HEAD", "/about/x"),
        gets("/attributes /attribute-twice /dict"),
        gets("/auth", Authorization=basic("ann", "a:b")),
        gets("/auth", Authorization="Bearer x"),
        gets("/auth"),
    ),
    talk(
        "cookies",
        "input",
        gets("""
            /cookies /set /cookies /drop /cookies /expiring /cookie-of-number /cookie-too-long
        """),
        gets_with(
            "/cookies",
            "Cookie",
            "plain=a b; session=%C3%A9; odd",
            'plain="quoted \\"x\\""; session=1; session=2',
            "",
            "$bad=;;;=;plain=ok",
        ),
    ),
    talk(
        "signed cookies",
        "input",
        gets("/signed /sign /signed /signed-wrong /sign?name=bob /signed"),
        gets_with("/signed", "Cookie", 'account="!wrong?value"', "account=plain", 'account="!?"'),
    ),
    # -- what an answer may be ---------------------------------------------------------------------
    talk(
        "values",
        "output",
        gets("""
            /value/text /value/bytes /value/none /value/empty /value/false /value/list-empty
            /value/list /value/list-bytes /value/tuple /value/dict /value/dict-empty
            /value/number /value/true /value/object /value/missing /value/dicts
        """),
        asks("HEAD", "/value/text /value/dict /value/none /value/list /generated /file"),
        gets("/file /open-file /iterator /map"),
    ),
    talk(
        "generators",
        "output",
        gets("""
            /generated /generated-bytes /generated-empty /generated-nothing /generated-header
            /generated-abort /generated-response /generated-crash /generated-number
        """),
    ),
    talk(
        "statuses and headers",
        "output",
        gets("""
            /status/200 /status/404 /status/418 /status/500 /status-line /status-unknown
            /status-wrong /headers /header-replaced /header-deleted /header-split
            /header-unicode /content-type /charset /json-type /length /expires /no-content
            /not-modified /iso
        """),
        asks("HEAD", "/headers /no-content /not-modified /length"),
    ),
    talk(
        "responses as values",
        "output",
        gets("""
            /response-headers /response-merged /response-of-list /response-of-dict
            /response-status/200 /response-status/204 /response-status/304 /response-status/401
            /response-status/599 /response-status-line /error-with-headers /error-text /error-of-exception /copied /kind /nested /no/such
        """),
        asks("DELETE", "/kind"),
        gets("/no/%3Cscript%3E /%C3%A9 /%FF"),
    ),
    # -- pages -------------------------------------------------------------------------------------
    talk(
        "templates",
        "pages",
        gets("""
            /source /source?name=%3Cb%3E /raw /named /named?name=ann /file-name /rebased
            /missing /code /line-ends /functions /undefined /broken /unicode /viewed
            /viewed-default /viewed-text /viewed-none /by-option /by-source /jinja /jinja-named /typed
        """),
        asks("HEAD", "/named"),
    ),
    # -- an application in parts -------------------------------------------------------------------
    talk(
        "plugins and hooks",
        "parts",
        gets("""
            /plugged /skipped /skipped-all /skipped-one /skipped-type /stored /stored-other
            /applied /applied-many /slashed /slashed/ /slashed// /noted /crash /plugged?stop=1
            /nothing?stop=1 /nothing /leave /plugged?late=1 /crash?late=1
        """),
        asks("PUT POST", "/plugged /added"),
        gets("/added /config /routes"),
    ),
    talk(
        "mounted and merged",
        "parts",
        gets("""
            /inner/ /inner /inner/page/x /inner/none /inner/fail /foreign /foreign/ /foreign/a/b
            /foreign/%C3%A9?q=1 /foreignx /merged
        """),
        asks("POST", "/foreign/x /inner/"),
        asks("PROPFIND HEAD DELETE PUT OPTIONS", "/foreign/x"),
        form("/foreign/echo", "a=1"),
    ),
    talk(
        "addresses of routes and a login",
        "parts",
        gets("/named/5/a/b /urls /url-missing /private /private-default"),
        gets("/private", Authorization=basic("ann", "pä:ss")),
        gets("/private", Authorization=basic("ann", "wrong")),
        gets("/private", Authorization="Basic !!!"),
        gets("/private-default", Authorization=basic("ann", "")),
        gets("/private-default", Authorization=basic("bob", "x")),
    ),
    # -- the default application -------------------------------------------------------------------
    talk(
        "the default application",
        "plain",
        gets("/ /item/1"),
        form("/item", "text=first"),
        gets("/item/1"),
        sent("/item/2", b"second", "text/plain", "PUT"),
        sent("/item/2", b" and more", "text/plain", "PATCH"),
        gets("/item/2"),
        asks("DELETE", "/item/2 /item/2 /item"),
        gets("/item/2 /derived /sum/of/1 /sum/of/1/3 /sum/of /none"),
        asks("HEAD", "/item/1"),
    ),
]
