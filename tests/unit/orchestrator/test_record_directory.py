from __future__ import annotations

import json
import stat
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbank.domain.errors import UnavailableError
from sandbank.orchestrator.adapters.record_directory import RecordDirectory, _decode, _encode
from sandbank.orchestrator.core.sandbox import RunningSandbox

SANDBOX = RunningSandbox(
    sandbox_id="i1",
    execution_id="execution",
    team_id="team",
    started_at=datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC),
    end_at=datetime(2026, 1, 3, tzinfo=UTC),
    vcpu=2,
    memory_mib=512,
    disk_mib=1024,
    traffic_token="token",
    mask_host=None,
    auto_pause=False,
    config=b"\x00\xff",
    https_ports=frozenset({8443, 3000}),
)


@given(
    config=st.binary(max_size=50),
    team_id=st.text(max_size=10),
    mask_host=st.none() | st.text(max_size=5),
    end_at=st.datetimes(timezones=st.just(UTC)),
)
def test_what_is_read_is_what_was_written(config: bytes, team_id: str, mask_host: str | None, end_at: datetime) -> None:
    sandbox = replace(SANDBOX, config=config, team_id=team_id, mask_host=mask_host, end_at=end_at)
    assert _decode(_encode(sandbox)) == sandbox


def test_records_of_one_directory(tmp_path: Path) -> None:
    records = RecordDirectory(tmp_path / "records")
    assert records.load_all() == []
    records.save(SANDBOX)
    other = replace(SANDBOX, sandbox_id="i2")
    records.save(other)
    moved = replace(SANDBOX, end_at=datetime(2027, 1, 1, tzinfo=UTC))
    records.save(moved)
    assert RecordDirectory(tmp_path / "records").load_all() == [moved, other]
    records.remove("i2")
    records.remove("i2")
    assert records.load_all() == [moved]
    assert stat.S_IMODE((tmp_path / "records" / "i1.json").stat().st_mode) == 0o600


def test_damaged_records_are_put_aside(tmp_path: Path) -> None:
    records = RecordDirectory(tmp_path)
    records.save(SANDBOX)
    (tmp_path / "i2.json").write_text("{")
    (tmp_path / "i3.json").write_bytes((tmp_path / "i1.json").read_bytes())
    (tmp_path / "i4.tmp").write_text("half of a")
    assert records.load_all() == [SANDBOX]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["i1.json", "i2.damaged", "i3.damaged"]


def test_a_disk_that_refuses(tmp_path: Path) -> None:
    records = RecordDirectory(tmp_path / "absent")
    with pytest.raises(UnavailableError):
        records.save(SANDBOX)
    (tmp_path / "file").write_text("")
    with pytest.raises(UnavailableError):
        RecordDirectory(tmp_path / "file").load_all()


def test_records_of_before_there_were_ports_that_speak_tls_are_read() -> None:
    older = json.loads(_encode(SANDBOX))
    del older["https_ports"]
    assert _decode(json.dumps(older).encode()) == replace(SANDBOX, https_ports=frozenset())
