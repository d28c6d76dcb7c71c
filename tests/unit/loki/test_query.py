"""Texts of users in LogQL (templates contract §5.5): whatever they hold, they stay texts."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbank.domain.log_query import LogQuery
from sandbank.domain.log_record import LogSubject
from sandbank.loki.query import logql, quote, regex_of
from tests.product.loki import parse

SUBJECT = LogSubject("team", "isandbox")


def query(search: str = "", level: str | None = None, subject: LogSubject = SUBJECT, service: str | None = None) -> LogQuery:
    return LogQuery(subject, 0, 1, 10, search=search, min_level=level, service=service)


def test_a_sandbox_is_selected_within_its_team_without_metrics() -> None:
    assert logql(query()) == '{teamID="team", sandboxID="isandbox", category!="metrics"}'


def test_levels_and_search_are_filters_after_parsing() -> None:
    expected = '{teamID="team", sandboxID="isandbox", category!="metrics"} | json | level =~ "(warn|error)" | message =~ "(?s).*a\\\\.b.*"'
    assert logql(query("a.b", "warn")) == expected


def test_a_build_is_selected_by_its_service_and_template() -> None:
    build = query(subject=LogSubject("", "", "template", "build"), service="template-manager")
    assert logql(build) == '{service="template-manager", buildID="build", envID="template"}'


HOSTILE = [
    '"',
    "`",
    '"} | json | level=~".*',
    "\\",
    "\\E.*\\Q",
    "a\nb",
    "\x00",
    "(",
    "[^",
    ".*",
    "|",
    "{teamID=`other`}",
    "ä€😀",
    "\u2028",
    "x" * 256,
]


@pytest.mark.parametrize("search", HOSTILE)
def test_a_search_cannot_leave_its_quotes(search: str) -> None:
    check(search)


@given(st.text(max_size=64))
def test_no_search_at_all_can(search: str) -> None:
    check(search)


def check(search: str) -> None:
    matchers, filters = parse(logql(query(search, "error")))
    assert matchers == [("teamID", "=", "team"), ("sandboxID", "=", "isandbox"), ("category", "!=", "metrics")]
    assert filters is not None
    wanted = [("message", "=~", "(?s).*" + regex_of(search) + ".*")] if search else []
    assert filters == [("level", "=~", "(error)"), *wanted]


@given(st.text(max_size=64))
def test_ids_cannot_leave_theirs(text: str) -> None:
    matchers, filters = parse(logql(query(subject=LogSubject("team", text or "x"))))
    assert matchers[:2] == [("teamID", "=", "team"), ("sandboxID", "=", text or "x")]
    assert filters is None


def test_halves_of_characters_are_replaced() -> None:
    assert quote("\ud83d") == '"?"'
