"""All targets by name."""

from __future__ import annotations

from collections.abc import Callable

from tests.project.fuzz import exchanges, features, holes, parsers, values

TARGETS: dict[str, Callable[[bytes], None]] = {
    target.__name__: target
    for target in (
        parsers.query,
        parsers.multipart,
        parsers.part_head,
        parsers.json_in_and_out,
        parsers.cookies,
        parsers.signed_cookie,
        parsers.accept,
        parsers.ranges_and_conditions,
        parsers.conversion,
        parsers.route_pattern,
        parsers.hosts_and_origins,
        parsers.event_fields,
        exchanges.exchange,
        exchanges.path,
        exchanges.served_file,
        exchanges.redirect,
        exchanges.forwarded,
        exchanges.csrf,
        exchanges.error_pages,
        exchanges.websocket_messages,
        exchanges.bare_head,
        exchanges.settings,
        features.flashes,
        features.trace_headers,
        features.openapi_paths,
        features.env_file,
        holes.growth,
        holes.downloads,
        holes.session_sizes,
        holes.tokens,
        values.links,
        values.charsets,
        values.defaults,
        values.text_areas,
        values.counted_addresses,
    )
}
