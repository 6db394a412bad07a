"""What the topics, the examples and the tutorial need to be called, and to answer each declared
status.
"""

from __future__ import annotations

from collections.abc import Mapping

import httpx2 as httpx

from tests.openapi.manual.security import token_of
from tests.openapi.provoked import NOBODY, Plan

STAFF = {"X-Staff": "pie-token"}


def entry_stored(client: httpx.Client) -> dict[str, str]:
    client.put("/manual/other_statuses/entries/a", json={"name": "a"})
    return {"X-Role": "editor"}


ROW_OF_FOUR = {"content": b"a,b,c,d", "headers": {"Content-Type": "text/csv"}}

TOPICS = Plan(
    values={
        "manual_checked_items": {"x_token": "sesame"},
        "manual_cookie_models_index": {"session": "abcdef"},
        "manual_dependencies_searched": {"last": "abc"},
        "manual_pages_followed": {"cursor": "20"},
        "manual_people_show": {"key": "00000000-0000-0000-0000-000000000001"},
        "manual_problems_item": {"key": "pie"},
        "manual_shop_items_show": {"key": "plumbus"},
        "manual_shop_items_change": {"key": "plumbus"},
        "manual_shop_users_show": {"name": "Rick"},
        "manual_yielded_item": {"key": "pie"},
    },
    further={
        "manual_guards_index": [{"headers": {"X-Role": "reader"}}],
        "manual_guards_publish": [{"headers": {"X-Role": "writer"}}],
        "manual_keys_cookie": [{"headers": {"Cookie": "key=wrong"}}],
        "manual_keys_header": [{"headers": {"X-Key": "wrong"}}],
        "manual_keys_query": [{"params": {"key": "wrong"}}],
        "manual_negotiation_pie": [
            {"headers": {"Accept": "image/png"}},
            {"headers": {"Accept": "text/csv"}},
        ],
        "manual_other_statuses_picture": [
            {"url": f"/manual/other_statuses/pictures/{key}"} for key in ("elsewhere", "nowhere")
        ],
        "manual_other_statuses_put": [{"url": "/manual/other_statuses/entries/b"}],
        "manual_problems_item": [{"url": "/manual/problems/items/taken"}],
        "manual_problems_unicorn": [{"url": "/manual/problems/unicorns/yolo"}],
        "manual_raw_bodies_csv": [ROW_OF_FOUR, {**ROW_OF_FOUR, "content": b"a,b\nc,d"}],
        "manual_sessions_enter": [{"data": {"name": "ann", "password": "apple pie"}}],
        "manual_sessions_me": [{"as": NOBODY}],
        "manual_sessions_quit": [{"as": NOBODY}],
        "manual_shop_admin_prices": [{"headers": {"X-Staff": "wrong"}}],
        "manual_shop_items_change": [{"url": "/manual/shop/items/gun"}],
        "manual_tokens_items": [{"headers": {"Authorization": f"Bearer {token_of('ann', [])}"}}],
        "manual_tokens_me": [{"headers": {"Authorization": f"Bearer {token_of('ann', [])}"}}],
        "manual_tokens_token": [{"data": {"username": "ann", "password": "apple pie"}}],
    },
    log_ins={
        "Staff": {"headers": STAFF},
        "Key": {"cookies": {"key": "sesame"}},
        "Key2": {"headers": {"X-Key": "sesame"}},
        "Key3": {"httpx_args": {"params": {"key": "sesame"}}},
        "BearerAuth2": {"headers": {"Authorization": f"Bearer {token_of('ann', ['me', 'items'])}"}},
    },
    prepare=entry_stored,
)

PNG = {"picture": ("pie.png", b"\x89PNG\r\n\x1a\n", "image/png")}
UPLOADED = [{"files": {"file": ("pie.txt", b"apple", "text/plain")}}]
ANN = {"name": "ann", "password": "apple pie"}
BOB = {"name": "bob", "password": "apple pie"}
PIE = {"name": "pie", "ingredients": [{"name": "apples", "grams": 800}]}
# The code of the short link that is made first.
CODE: dict[str, str] = {}


def signed_in(client: httpx.Client) -> dict[str, str]:
    client.post("/door", data={"name": "ann", "password": "pie"})
    return {}


def signed_up(client: httpx.Client) -> dict[str, str]:
    client.post("/sign_up", data=ANN)
    return {}


def task_made(client: httpx.Client) -> dict[str, str]:
    client.post("/tasks", json={"title": "a"})
    return {}


def post_written(client: httpx.Client) -> dict[str, str]:
    client.post("/write", data={"title": "a", "text": "b"})
    return {}


def link_made(client: httpx.Client) -> dict[str, str]:
    made = client.post("/links", data={"url": "https://pies.example"}).json()
    CODE["code"] = made["short"].rpartition("/")[2]
    return {}


def recipes_added(client: httpx.Client) -> dict[str, str]:
    """The first recipe is Ann's, the second Bob's."""
    for number, user in enumerate((ANN, BOB)):
        client.post("/users", json=user)
        headers = {"Authorization": f"Bearer {client.post('/tokens', json=user).json()['token']}"}
        client.post("/recipes", json={**PIE, "name": f"pie {number}"}, headers=headers)
        if user is ANN:
            of_ann = headers
    return of_ann


PLANS: Mapping[str, Plan] = {
    "album": Plan(
        further={"hang": [{"files": PNG}], "sign_in": [{"data": {"password": "pie"}}]},
        first=("take_down",),
        prepare=signed_in,
    ),
    "api": Plan(first=("show", "change"), prepare=task_made),
    "blog": Plan(prepare=post_written),
    "chat": Plan(endless=("messages",)),
    "live": Plan(endless=("clock",)),
    "login": Plan(
        further={"log_in": [{"data": ANN}], "secret": [{"as": NOBODY}], "sign_up": [{"data": BOB}]},
        first=("secret",),
        prepare=signed_up,
    ),
    "primes": Plan(endless=("progress",)),
    "shortener": Plan(
        values={"follow": CODE},
        further={"create": [{"data": {"url": "https://pies.example"}}]},
        prepare=link_made,
    ),
    "subapps": Plan(
        further={
            "office_index": [{"params": {"key": "sesame"}}],
            "shop_buy": [{"data": {"pie": "apple"}}],
        }
    ),
    "tour": Plan(further={"upload": UPLOADED}, endless=("clock", "countdown"), fails=("crash",)),
    "upload": Plan(further={"upload": UPLOADED}),
    "tutorial/api/step7": Plan(
        further={
            "add": [{"json": {"name": "pie 0"}}],
            "log_in": [{"json": ANN}, {"json": {**ANN, "password": "plum pie"}}],
            "remove": [{"url": "/recipes/2"}],
            "sign_up": [{"json": {"name": "eve", "password": "apple pie"}}, {"json": ANN}],
        },
        first=("show",),
        prepare=recipes_added,
    ),
}
