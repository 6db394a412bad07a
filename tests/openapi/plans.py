"""What the examples and the tutorial need to be called, and to answer each declared status."""

from __future__ import annotations

from collections.abc import Mapping

from tests.openapi.provoked import Plan

PLANS: Mapping[str, Plan] = {}

TOPICS = Plan()
