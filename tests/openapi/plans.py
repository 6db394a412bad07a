"""What the topics, the examples and the tutorial need to be called, and to answer each declared
status.
"""

from __future__ import annotations

from collections.abc import Mapping

import httpx

from tests.openapi.manual.security import token_of
from tests.openapi.provoked import NOBODY, Plan

ANY_KEY = "each text is the key of something"
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
        "manual_raw_bodies_csv": [
            ROW_OF_FOUR,
            {**ROW_OF_FOUR, "content": b"a,b\nc,d"},
        ],
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
    never={
        ("path_values_key", "404"): ANY_KEY,
        ("manual_extra_models_vehicle", "404"): ANY_KEY,
        ("manual_other_statuses_put", "404"): ANY_KEY,
        ("manual_problems_unicorn", "404"): ANY_KEY,
        ("manual_shop_items_change", "404"): ANY_KEY,
        ("manual_shop_users_show", "404"): ANY_KEY,
        ("manual_yielded_item", "404"): ANY_KEY,
        ("manual_sessions_door", "403"): "the forms of others are POST",
        ("manual_sessions_me", "403"): "the check redirects",
    },
    prepare=entry_stored,
)

PLANS: Mapping[str, Plan] = {}
