"""What is asked of the applications on CherryPy.

All are mounted on one tree, each below a prefix of its own.
"""

from __future__ import annotations

from compat.tests.asking import (
    FORM,
    asks,
    basic,
    digest,
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
DATE = "Tue, 14 Nov 2023 22:13:20 GMT"
BIG = bytes(range(256)) * 1000

CONVERSATIONS = [
    # -- the tutorials -----------------------------------------------------------------------------
    talk(
        "pages",
        "tutorials",
        gets("""
            /tut01/ /tut01 /tut01/index /tut01/index/ /tut01/x /tut01?a=1 /tut01/?a=1 / /x
            /tut02/ /tut02/message /tut02/message/ /tut02/message/x /tut02/other /tut02/another
            /tut02/several /tut02/show-more /tut02/show_more /tut02/show.more /tut02/hidden
            /tut02/old_style /tut02/old-style /tut02/text /tut02/__init__ /tut02/Message /tut0
            /tut02//message /tut02/./message /tut02/%6Dessage /tut02/message%2Fx /tut02/%E9
            /tut02/_cp_config /tut02/__doc__ /tut011
        """),
        asks("HEAD", "/tut01/ /tut01 /tut02/message /tut02/none"),
        asks("POST", "/tut01/ /tut01"),
        asks("PUT DELETE OPTIONS PROPFIND", "/tut02/message"),
    ),
    talk(
        "parameters",
        "tutorials",
        gets("""
            /tut03/ /tut03/greet?name=ann /tut03/greet /tut03/greet?name= /tut03/greet?name
            /tut03/greet?name=%C3%A9 /tut03/greet?name=a+b /tut03/greet/ann /tut03/greet?other=1
            /tut03/greet/ann?name=bob /tut03/greet/a/b /tut03/greet?name=a&name=b
            /tut03/greet?name=%FF /tut03/needs /tut03/needs?first=1
            /tut03/needs?first=1&second=2 /tut03/needs/1/2 /tut03/needs/1?second=2
            /tut03/needs/1?first=2 /tut03/needs/1/2/3 /tut03/optional/1 /tut03/optional
            /tut03/optional/1/2/3/4?z=1&a=2 /tut03/optional/1/2?second=3
            /tut03/only-positional/a/b /tut03/only_positional /tut03/only_positional?a=1
            /tut03/only_named /tut03/only_named?b=1&a=2&a=3 /tut03/only_named/x
            /tut03/keyword_only?key=1 /tut03/keyword_only /tut03/inside /tut03/optional/a%2Fb
            /tut03/optional/a%20b/c+d /tut03/optional/.hidden /tut03/optional/%C3%A9
            /tut03/optional/a//b /tut03/only_named?a=1;b=2 /tut03/only_named?3,4
        """),
        form("/tut03/greet", "name=ann"),
        form("/tut03/greet?name=query", "name=form"),
        form("/tut03/greet", "other=1"),
        form("/tut03/greet?other=1", "name=x"),
        forms("/tut03/needs", "first=1", "first=1&second=2"),
        form("/tut03/needs/1", "first=1&second=2"),
        form("/tut03/needs/1/2/3", ""),
        form("/tut03/only_named?a=0", "a=1&a=2&b=%C3%A9&c="),
        form("/tut03/only_named", b"a=%FF"),
        form("/tut03/only_named", "a=1", "PUT"),
        form("/tut03/only_named", "a=1", "DELETE"),
        form("/tut03/only_named", "a=1", "PATCH"),
        sent("/tut03/only_named", b"a=1", "text/plain"),
        sent("/tut03/only_named", b"a=1", "Application/X-WWW-Form-Urlencoded"),
        sent("/tut03/only_named", b"a=1", ""),
    ),
    talk(
        "objects and defaults",
        "tutorials",
        gets("""
            /tut04/ /tut04/jokes /tut04/jokes/ /tut04/jokes/tell /tut04/jokes/tell/5
            /tut04/links/ /tut04/jokes/tell?number=7 /tut04/links /tut04/links/deeper
            /tut04/none/ /tut04/jokes/none /tut05/ /tut05/another/ /tut05/another /tut05/header
            /tut05/another/footer /tut05/title /tut06/ /tut06/ann /tut06/bob /tut06/bob/x
            /tut06/bob/ /tut06/%C3%A9 /tut06/index /tut06b/ /tut06b/a/b/c?x=1 /tut06b
            /tut06b/known /tut06b/known/x /tut06b//a//b/
        """),
        form("/tut06b/a", "b=1"),
    ),
    talk(
        "a session",
        "tutorials",
        gets("""
            /tut07/ /tut07/ /tut07/look /tut07/put?key=name&value=ann /tut07/look /tut07/renew
            /tut07/look /tut07/fail /tut07/look /tut07/take?key=name /tut07/take?key=name
            /tut07/missing /tut07/forget /tut07/look /tut07/ /tut07/leave /tut07/ /tut07
        """),
        asks("HEAD POST", "/tut07/"),
    ),
    talk(
        "no session of one's own choice",
        "tutorials",
        gets("/tut07/unused"),
        gets("/tut07/", Cookie="session_id=0123456789012345678901234567890123456789"),
        gets("/tut07/", Cookie="session_id=../../etc/passwd"),
    ),
    talk(
        "generators and files",
        "tutorials",
        gets("/tut08/ /tut08/failing /tut08/leaving /tut08/streamed /tut09/ /tut09/download"),
        asks("HEAD", "/tut08/ /tut08/streamed /tut09/download"),
        upload("/tut09/upload", ("file", "a.txt", "text/plain", b"content")),
        upload(
            "/tut09/upload",
            ("file", "ünï.txt", "text/plain", b"x"),
            ("note", None, "", "né".encode()),
        ),
        upload("/tut09/upload", ("file", "a b\\c.bin", "", BIG)),
        upload("/tut09/upload", ("file", "", "application/octet-stream", b"")),
        upload("/tut09/upload", ("note", None, "", b"alone")),
        upload("/tut09/upload", ("file", None, "", b"as text")),
        upload(
            "/tut09/several", ("file", "a", "text/plain", b"1"), ("file", "b", "text/plain", b"2")
        ),
        form("/tut09/upload", "file=text"),
        sent("/tut09/upload", b"x", "multipart/form-data"),
    ),
    talk(
        "pages for errors",
        "tutorials",
        gets("""
            /tut10/ /tut10/error?code=403 /tut10/error?code=404 /tut10/error?code=500
            /tut10/error?code=x /tut10/message /tut10/message?code=418
            /tut10/message?code=409&text=short /tut10/reason /tut10/crash /tut10/lost
            /tut10/lost_path /tut10/handled /tut10/message?code=200 /tut10/message?code=700
            /tut10/none /tut10/message?text=%C3%A9
        """),
        asks("HEAD", "/tut10/crash /tut10/error?code=403"),
    ),
    talk(
        "the generator of strings",
        "tutorials",
        gets("""
            /strings/ /strings/generate /strings/display /strings/generate?length=3
            /strings/display /strings/generate?length=x /strings/static/style.css
            /strings/generator /strings/generator/
        """),
        asks("POST", "/strings/generator"),
        form("/strings/generator", "length=4"),
        gets("/strings/generator", Accept="text/plain"),
        gets("/strings/generator", Accept="text/html"),
        form("/strings/generator", "another_string=new", "PUT"),
        gets("/strings/generator"),
        asks("DELETE PATCH HEAD", "/strings/generator"),
        gets("/strings/generator"),
    ),
    # -- dispatch ----------------------------------------------------------------------------------
    talk(
        "paths to handlers",
        "dispatching",
        gets("""
            /dispatch/ /dispatch /dispatch/?a=1 /dispatch?a=%C3%A9&b /dispatch/page
            /dispatch/page/1/2 /dispatch/rss.xml /dispatch/rss-xml /dispatch/rss!xml
            /dispatch/plain /dispatch/plain/5 /dispatch/sub /dispatch/sub/ /dispatch/sub/x/y
            /dispatch/sub/exact /dispatch/sub/exact/z /dispatch/service /dispatch/service/a
            /dispatch/what /dispatch/what?q=1 /dispatch/index /dispatch/bands /dispatch/bands/
            /dispatch/bands/ann /dispatch/bands/ann/ /dispatch/bands/ann/albums/first
            /dispatch/bands/ann/albums/first/ /dispatch/bands/a/b /dispatch/years
            /dispatch/years/ /dispatch/years/2024 /dispatch/years/2024/ /dispatch/years/2024/5
            /dispatch/years/2024/5/ /dispatch/years/2024/5/edit /dispatch/years/2024/5/notes/
            /dispatch/years/2024/5/6 /dispatch/years/edit /nothing /nothing/ /nothing/page
            /dispatch/page/b%252Fc/50%2525 /dispatch/page/caf%E9 /dispatch/page/caf%C3%A9
            /latin/page/caf%E9 /latin/page/caf%C3%A9 /latin/page/cafe /hosts/ /strict/
            /loose/sub /loose/page/ /slash/sub?a=1 /grafted/own /grafted/own/ /grafted/own/page
            /noslash /noslash/ /noslash/sub /slash/page/ /slash/page/?a=1 /slash /slash/sub
            /dispatch/second /dispatch/second/ /dispatch/secondary /dispatch/second/leave
            /grafted /grafted/ /grafted/a/b /graftedx /dispatch/by-handler/ann/
            /dispatch/by-class/ann/ /dispatch/attribute/2024/ /dispatch/attribute/2024/leaf/
            /dispatch/attribute/2024/none/
        """),
        gets("/hosts/ /strict/", Host="blog.example"),
        gets("/hosts/ /strict/", X_Forwarded_Host="blog.example"),
        asks("HEAD", "/dispatch/page /grafted/x"),
        asks("POST", "/dispatch/sub /grafted/x"),
    ),
    talk(
        "addresses and redirects",
        "dispatching",
        gets("/dispatch/address /dispatch/address?x=1 /dispatch/address/"),
        gets("/dispatch/address", Host="other.example:99"),
        gets("""
            /dispatch/redirect /dispatch/redirect?to=page /dispatch/redirect?to=/top
            /dispatch/redirect?to=../x /dispatch/redirect?to=http://example.org/
            /dispatch/redirect?to= /dispatch/redirect?to=%23part /dispatch/redirect?to=%3Fb=1
            /dispatch/redirect?to=/a&status=300
            /dispatch/redirect?to=/a&status=305 /dispatch/redirect?to=/a&status=306
            /dispatch/redirect?to=page&status=301 /dispatch/redirect?to=page&status=302
            /dispatch/redirect?to=page&status=307 /dispatch/redirect?to=page&status=304
            /dispatch/redirect?to=page&status=200 /dispatch/redirect?to=page&status=308
            /dispatch/redirect?to=%3Cx%3E /dispatch/redirect?to=%C3%A9
            /dispatch/redirect_with_cookie /dispatch/page /dispatch/inward /dispatch/circle
            /dispatch/inward_query /dispatch/inward_near /dispatch/tool_away /dispatch/tool_failed
            /dispatch/redirect_many /dispatch/not_modified
        """),
        asks("HEAD", "/dispatch/redirect"),
        asks("POST", "/dispatch/redirect /dispatch/inward /dispatch/inward_near"),
    ),
    talk(
        "dispatch by methods",
        "dispatching",
        gets("""
            /rest/ /rest /rest/things /rest/things/ /rest/things/1 /rest/things/9
            /rest/things/1/2
        """),
        form("/rest/things", "text=two"),
        gets("/rest/things/2"),
        form("/rest/things/2", "text=new", "PUT"),
        gets("/rest/things/2"),
        asks("DELETE", "/rest/things/2 /rest/"),
        asks("HEAD", "/rest/things/1 /rest/"),
        asks("PATCH", "/rest/things/1"),
        asks("GET HEAD POST DELETE", "/rest/posts"),
        asks("OPTIONS", "/rest/things"),
        asks("POST", "/rest/things /rest/things/a/b"),
        gets("/rest/things/2 /rest/none"),
    ),
    # -- messages ----------------------------------------------------------------------------------
    talk(
        "requests",
        "messages",
        gets_with("/messages/headers", "X-Token", "abc", "=?utf-8?q?=C3=A9?="),
        gets("""
            /messages/headers /messages/header_missing /messages/about
            /messages/about/a/b?c=d&e=%C3%A9
        """),
        gets("/messages/about", Host="other.example"),
        gets(
            "/messages/about",
            X_Forwarded_For="10.0.0.1",
            X_Forwarded_Host="f.example",
            X_Forwarded_Proto="https",
        ),
        form("/messages/about?a=1", "b=2"),
        sent("/messages/body", b"raw \xff bytes", "application/octet-stream"),
        sent("/messages/body", b"text", "text/plain"),
        sent("/messages/body", b"", "text/plain"),
        sent("/messages/body_length", BIG, "application/octet-stream"),
        *[
            sent(f"/messages/body_by/{way}", b"one\ntwo\nthree", "application/octet-stream")
            for way in ("lines", "some", "hint", "copied", "through_a_file", "known")
        ],
        sent("/messages/rfile", b"a=1&b=2", "application/x-www-form-urlencoded"),
        form("/messages/limited", "a=1"),
        form("/messages/limited", "a=" + "x" * 200),
        form("/messages/params?a=1", "b=2"),
        form("/messages/params?a=1", "a=2"),
        form("/messages/params?a=1&a=2", "a=3&b=1&b=2&b=3"),
        form("/messages/body_params?a=1", "b=2"),
        sent("/messages/body_params", b"a=%E9", f"{FORM}; charset=latin-1"),
        sent("/messages/body_params", b"a=%C3%A9+x", f"{FORM}; charset=utf-8"),
        form("/messages/body_params", "a=" + "x" * 300_000),
        gets("/messages/attributes"),
    ),
    talk(
        "cookies",
        "messages",
        gets("""
            /messages/cookies /messages/set_cookies /messages/cookies /messages/drop_cookie
            /messages/cookies
        """),
        gets_with(
            "/messages/cookies",
            "Cookie",
            'a="quoted \\"x\\""; b=1; b=2',
            "odd",
            "a=%C3%A9",
            "a=1; path=/x; Expires=never; b=2",
        ),
    ),
    talk(
        "answers",
        "messages",
        gets("""
            /messages/status /messages/status?code=404 /messages/status?code=299%20Mine
            /messages/status?code=1000 /messages/status?code=nonsense /messages/status?code=204
            /messages/status?code=304 /messages/head /messages/head_unicode
            /messages/head_odd /messages/head_deleted /messages/typed /messages/typed?kind=text/plain
            /messages/text_typed /messages/unicode /messages/text_typed?kind=text/css
            /messages/latin /messages/no_encode /messages/stream /messages/value?kind=text
            /messages/value?kind=bytes /messages/value?kind=none /messages/value?kind=empty
            /messages/value?kind=list /messages/value?kind=tuple /messages/value?kind=list-empty
            /messages/value?kind=number /messages/value?kind=dict /messages/value?kind=missing
            /messages/sized /messages/sized?status=204 /messages/not_encoded?kind=text
            /messages/not_encoded?kind=list /messages/not_encoded?kind=number
            /messages/file /messages/body_set /messages/after_error
        """),
        gets("/messages/unicode", Accept_Charset="iso-8859-15"),
        gets("/messages/unicode", Accept_Charset="us-ascii"),
        asks(
            "HEAD",
            "/messages/unicode /messages/stream /messages/value?kind=none"
            " /messages/status?code=204 /messages/sized",
        ),
    ),
    talk(
        "JSON",
        "messages",
        gets("/messages/json /messages/json_list /messages/json_error /messages/json_typed"),
        asks("HEAD", "/messages/json"),
        json("/messages/json_in", {"a": [1, "é"]}),
        json("/messages/json_in?q=1", 5),
        sent("/messages/json_in", b"{broken", "application/json"),
        sent("/messages/json_in", b"", "application/json"),
        sent("/messages/json_in", b"{}", "text/plain"),
        sent("/messages/json_in", b'"\xff"', "application/json"),
        form("/messages/json_in", "a=1"),
        gets("/messages/json_in"),
        json("/messages/json_maybe", [1]),
        form("/messages/json_maybe", "a=1"),
        gets("/messages/json_maybe"),
        json("/messages/json_both", {"x": None}),
        sent("/messages/json_both", b"{}", "application/json; charset=utf-8"),
        sent("/messages/json_both", b'"ab"', "text/javascript"),
        sent("/messages/json_both", b'"ab', "text/javascript"),
        sent("/messages/json_both", b"", "text/javascript"),
        json("/messages/json_both", "a" * 100_000),
        sent("/messages/json_own", b"[1]", "application/vnd.x+json"),
        sent("/messages/json_own", b"[1", "application/vnd.x+json"),
        sent("/messages/json_own", b"[1]", "application/json"),
    ),
    # -- tools -------------------------------------------------------------------------------------
    talk(
        "static files",
        "tools",
        gets("""
            /st/ /st/files/note.txt /st/files/style.css /st/files/page.html /st/files/data.json
            /st/files/numbers.bin /st/files/none.txt /st/files /st/files/ /st/files/folder/
            /st/files/folder /st/indexed /st/indexed/ /st/matched/style.css /st/matched/note.txt
            /st/types/note.txt /st/types/style.css /st/favicon.ico /st/gone.txt
            /st/files/../apps/x.py /st/files/%2e%2e/exchange.py /st/files//note.txt
            /st/files/folder/../note.txt /st/serve /st/serve?name=numbers.bin
            /st/serve?name=none /st/serve?name=folder /st/typed /st/unicode_name /st/download
            /st/download_as /st/fileobj /st/object_without_type /st/opened /st/relative
        """),
        asks("HEAD", "/st/files/note.txt /st/serve /st/files/none.txt"),
        asks("POST", "/st/files/note.txt /st/favicon.ico"),
    ),
    talk(
        "conditional requests and ranges",
        "tools",
        gets("/st/files/note.txt"),
        Ask("GET", "/st/files/note.txt", with_header("If-Modified-Since", "last-modified")),
        gets("/st/files/note.txt"),
        Ask("GET", "/st/files/note.txt", with_header("If-Unmodified-Since", "last-modified")),
        gets("/st/files/note.txt", If_Modified_Since=EPOCH),
        gets("/st/files/note.txt", If_Unmodified_Since=EPOCH),
        gets("/st/files/note.txt", If_Modified_Since="nonsense"),
        gets_with(
            "/st/files/numbers.bin",
            "Range",
            "bytes=0-9",
            "bytes=1000-",
            "bytes=-10",
            "bytes=1020-5000",
            "bytes=5000-6000",
            "bytes=9-5",
            "nonsense",
            "bytes=0-1,4-5",
        ),
        gets("/st/serve?name=numbers.bin /st/opened", Range="bytes=5-5"),
        Ask("GET", "/st/opened", with_header("If-Modified-Since", "last-modified")),
        asks("HEAD", "/st/files/numbers.bin", Range="bytes=0-9"),
    ),
    talk(
        "compression, tags, ages",
        "tools",
        gets("""
            /tools/ /tools/gzipped /tools/gzip_css /tools/tagged /tools/own_tag /tools/minute
            /tools/gzipped?text= /tools/own_tag?twice=1
        """),
        gets_with(
            "/tools/gzipped",
            "Accept-Encoding",
            "gzip",
            "gzip;q=0",
            "identity",
            "br, *;q=0.1",
            "identity;q=0, br",
            "gzip;q=0, identity;q=0",
            "x",
        ),
        gets("/tools/gzipped?text= /tools/gzipped?stream=1", Accept_Encoding="gzip"),
        gets("/tools/gzipped?stream=1", Accept_Encoding="identity"),
        gets("/tools/gzip_css", Accept_Encoding="gzip, deflate"),
        gets(
            """
            /tools/gzip_css?kind=text/plain /tools/gzip_css?kind=image/png
            /tools/gzip_css?kind=application/atom%2Bxml /tools/gzip_css?kind=application/json
            """,
            Accept_Encoding="gzip",
        ),
        asks("HEAD", "/tools/gzipped", Accept_Encoding="gzip"),
        gets("/tools/tagged"),
        Ask("GET", "/tools/tagged", with_header("If-None-Match", "etag", '"x", {}')),
        Ask("GET", "/tools/tagged", with_header("If-Match", "etag", '"x", {}')),
        gets("/tools/tagged", If_Match="*"),
        asks("PUT", "/tools/tagged", If_None_Match="*"),
        gets("/tools/tagged?status=202"),
        gets("/tools/tagged?status=404", If_Match='"x"'),
        gets("/tools/tagged", If_None_Match='"other"'),
        gets("/tools/tagged", If_Match='"other"'),
        gets("/tools/own_tag /tools/own_tag?twice=1", If_None_Match='"own"'),
        gets("/tools/own_tag", If_None_Match="*"),
        gets("/tools/own_tag", If_Match='"own"'),
        asks("POST", "/tools/own_tag", If_None_Match='"own"'),
        gets("/tools/never /tools/forced /tools/minute"),
        gets("/tools/dated", If_Modified_Since=EPOCH),
        asks("GET PUT", "/tools/dated", If_Modified_Since=DATE),
        gets("/tools/dated", If_Unmodified_Since=DATE),
        asks("PUT", "/tools/dated", If_Unmodified_Since=EPOCH),
        gets("/tools/dated?date= /tools/dated?status=404&date=x", If_Modified_Since="x"),
        gets("/tools/dated?date= /tools/dated?status=404&date=x", If_Unmodified_Since="y"),
    ),
    talk(
        "caching",
        "tools",
        gets("/tools/cached /tools/cached /tools/cached?x=2 /tools/cached?x=2"),
        asks("HEAD", "/tools/cached"),
        gets("/tools/cached", Cache_Control="no-cache"),
        gets("/tools/cached", Pragma="no-cache"),
        gets("/tools/cached"),
        asks("POST", "/tools/cached"),
        gets("/tools/cached /tools/cached"),
        gets_with(
            "/tools/cached", "Cache-Control", "no-store, x, no-cache", "max-age=60", "max-age=x"
        ),
        gets("/tools/cached?x=3", Cache_Control="no-store"),
        gets("""
            /tools/cached?x=3 /tools/cached?Pragma=no-cache /tools/cached?Pragma=no-cache
            /tools/cached?Cache-Control=no-store /tools/cached?Cache-Control=no-store
        """),
        gets_with("/tools/cached?Vary=X-Choice", "X-Choice", "a", "b", "a", "b"),
    ),
    talk(
        "small tools",
        "tools",
        gets("""
            /tools/allowed /tools/accepted /tools/headed /tools/proxied /tools/based
            /tools/ignoring
        """),
        asks("POST HEAD", "/tools/allowed"),
        gets_with(
            "/tools/accepted",
            "Accept",
            "text/html",
            "image/png",
            "text/*",
            "application/xml",
            "application/*",
            "*/*",
            "text/html;q=0.1, application/xml",
            "text/html;q=0",
        ),
        gets(
            "/tools/proxied",
            X_Forwarded_Host="f.example",
            X_Forwarded_Proto="https",
            X_Forwarded_For="10.0.0.9",
        ),
        gets_with(
            "/tools/proxied", "X-Forwarded-Host", "a.example, b.example", "https://d.example"
        ),
        gets("/tools/proxied", X_Forwarded_Proto="https", Host="c.example"),
        gets(
            "/tools/proxied_otherwise",
            X_Forwarded_Ssl="on",
            X_Real_Ip="9.9.9.9",
            X_Forwarded_Host="f.example",
        ),
        gets("/tools/proxied_hardly", X_Forwarded_For="1.2.3.4", Host="g.example"),
        gets("/tools/referred /tools/referred_by_call /tools/referred_by_call?accept_missing=1"),
        gets_with("/tools/referred", "Referer", "http://good.example/page", "http://bad.example/"),
        gets_with("/tools/referred_by_call?accept=", "Referer", "http://good/", "http://bad/"),
        gets("/tools/referred_by_call?error=404&message=no", Referer="http://bad.example/"),
        gets("/tools/ignoring", X_Token="x"),
        gets("/tools/converted?count=5 /tools/converted /tools/converted?count=x"),
    ),
    talk(
        "tools and hooks of one's own",
        "tools",
        gets("""
            /hooks/ /hooks/short /hooks/short?short=1 /hooks/guarded /hooks/guarded?secret=open
            /hooks/loud /hooks/replaced /hooks/replaced?replace=1 /hooks/once /hooks/stamp
            /hooks/by_config /hooks/order /hooks/order_of_errors /hooks/crash /hooks
        """),
        asks("HEAD", "/hooks/order"),
    ),
    talk(
        "pages of one's own for errors",
        "tools",
        gets("""
            /errors/fail /errors/fail?code=410 /errors/fail?code=409 /errors/fail?code=411 /errors/crash /errors/none
            /errors/own_response /errors/silent /errors/broken /errors-plain/fail /errors-plain/fail?code=503
            /errors-plain/crash /errors-plain/own_response /errors-plain/none
        """),
    ),
    talk(
        "configuration",
        "tools",
        gets("""
            /config/ /config/handler /config/section /config/application /config/below/
            /config/below
        """),
    ),
    talk(
        "log-ins",
        "tools",
        gets("/basic/ /basic"),
        gets_with(
            "/basic/",
            "Authorization",
            basic("ann", "pä:ss"),
            basic("ann", "pä:ss", "latin-1"),
            basic("ann", "wrong"),
            basic("eve", ""),
            basic("nobody", "x"),
            basic("", ""),
            "Basic bm8gY29sb24=",
            "Basic",
            "Basic !!!",
            "Bearer x",
        ),
        gets("/basic", Authorization=basic("bob", "x")),
        gets("/digest/"),
        Ask("GET", "/digest/", digest("bob", "x", "/digest/", "here")),
        gets("/digest/"),
        Ask("GET", "/digest/", digest("bob", "x", "/digest/", "here", spoil=True)),
        gets("/digest/"),
        Ask("GET", "/digest/", digest("eve", "x", "/digest/", "here")),
        gets("/digest/", Authorization='Digest username="bob"'),
        gets("/digest/", Authorization="Digest nonsense"),
    ),
]
