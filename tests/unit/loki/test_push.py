"""What a push looks like (templates contract §5.3)."""

from __future__ import annotations

import json

from sandbank.domain.log_record import LogRecord, LogSubject
from sandbank.loki.push import encode, labels_of


def record(timestamp_ns: int, sandbox_id: str = "i1", service: str = "envd", message: str = "m") -> LogRecord:
    return LogRecord(timestamp_ns, LogSubject("t", sandbox_id, "e", "b"), service, "info", message)


def test_labels_are_exactly_those_of_the_contract() -> None:
    assert labels_of(record(1)) == {
        "source": "logs-collector",
        "service": "envd",
        "teamID": "t",
        "envID": "e",
        "buildID": "b",
        "sandboxID": "i1",
        "category": "default",
    }


def test_ids_that_do_not_apply_are_unknown() -> None:
    labels = labels_of(LogRecord(1, LogSubject("t"), "template-manager", "info", "m"))
    assert (labels["envID"], labels["buildID"], labels["sandboxID"]) == ("unknown", "unknown", "unknown")


def test_each_sandbox_and_service_is_one_stream_in_the_order_of_time() -> None:
    document = json.loads(encode([record(3), record(1), record(2, "i2"), record(2), record(4, service="orchestrator")]))
    streams = [(stream["stream"]["sandboxID"], stream["stream"]["service"], stream["values"]) for stream in document["streams"]]
    assert [(sandbox, service, [value[0] for value in values]) for sandbox, service, values in streams] == [
        ("i1", "envd", ["1", "2", "3"]),
        ("i2", "envd", ["2"]),
        ("i1", "orchestrator", ["4"]),
    ]
    assert all(json.loads(line)["message"] == "m" for _, _, values in streams for _, line in values)
