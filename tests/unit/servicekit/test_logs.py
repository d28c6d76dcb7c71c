from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator

import pytest
import structlog

from sandbank.servicekit import logs


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers, root.level = handlers, level
    structlog.reset_defaults()


def test_json_lines_from_us_and_from_libraries() -> None:
    stream = io.StringIO()
    logs.configure("info", json=True, stream=stream)
    structlog.get_logger("sandbank.test").info("sandbox created", sandbox_id="i1")
    structlog.get_logger("sandbank.test").debug("not this")
    logging.getLogger("library").warning("careful: %s", "hot")
    ours, theirs = map(json.loads, stream.getvalue().splitlines())
    assert ours["event"] == "sandbox created"
    assert ours["sandbox_id"] == "i1"
    assert ours["level"] == "info"
    assert ours["timestamp"].endswith("Z")
    assert theirs["event"] == "careful: hot"
    assert theirs["logger"] == "library"


def test_an_exception_stays_on_its_line() -> None:
    stream = io.StringIO()
    logs.configure("info", json=True, stream=stream)
    structlog.get_logger().error("failed", exc_info=ValueError("no"))
    (line,) = stream.getvalue().splitlines()
    assert json.loads(line)["exception"][0]["exc_value"] == "no"


def test_lines_for_people() -> None:
    stream = io.StringIO()
    logs.configure("WARNING", json=False, stream=stream)
    structlog.get_logger().info("not this")
    structlog.get_logger().warning("this", port=3000)
    (line,) = stream.getvalue().splitlines()
    assert "this" in line
    assert "port=3000" in line


def test_unknown_levels_are_refused() -> None:
    with pytest.raises(ValueError, match="unknown log level 'loud'"):
        logs.configure("loud", json=False)
