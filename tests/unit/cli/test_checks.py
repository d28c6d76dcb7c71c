"""What `sandbank doctor` and the checks before a start make of a machine."""

from __future__ import annotations

import json
import socket
from pathlib import Path

import pytest

from sandbank.cli import doctor, kernel_checks, node_checks, packages, preflight
from sandbank.cli.check import fail, ok, warn
from sandbank.cli.settings import NodeSettings
from sandbank.domain.errors import DeniedError, ExhaustedError, UnavailableError


def test_cgroups_of_every_kind(tmp_path: Path) -> None:
    v2 = tmp_path / "v2"
    v2.mkdir()
    (v2 / "cgroup.controllers").write_text("cpuset cpu io memory hugetlb pids\n")
    assert kernel_checks.cgroups(v2).state == "ok"
    hybrid = tmp_path / "hybrid"
    for name in ("cpu", "memory", "pids", "unified"):
        (hybrid / name).mkdir(parents=True)
        (hybrid / name / "cgroup.procs").touch()
    assert kernel_checks.cgroups(hybrid).found.startswith("v1 with v2 beside it")
    (hybrid / "memory" / "cgroup.procs").unlink()
    lacking = kernel_checks.cgroups(hybrid)
    assert lacking.state == "fail"
    assert "memory" in lacking.found


def test_every_trouble_says_what_it_costs_and_how_to_end_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(node_checks, "missing_packages", lambda: ["nftables"])
    check = node_checks.packages()
    assert check.state == "warn"
    assert check.costs
    assert check.fix == "apt-get install nftables"


def test_a_criu_that_will_not_do_costs_only_pausing(tmp_path: Path) -> None:
    check = kernel_checks.criu(tmp_path / "criu")
    assert check.state == "warn"
    assert "No such file" in check.found
    assert "all else works" in check.costs
    assert "SANDBANK_CRIU" in check.fix


def test_a_taken_port_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        settings = NodeSettings(bind="127.0.0.1", api_port=port, data_dir=Path("/nonexistent"), run_dir=Path("/nonexistent"))
        check = node_checks.ports(settings)
        assert check.state == "fail"
        assert str(port) in check.found
        with pytest.raises(UnavailableError, match=str(port)):
            preflight.require_ports(settings)


def test_root_is_required_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    with pytest.raises(DeniedError, match="root"):
        preflight.require_root()
    assert node_checks.root().state == "fail"


def test_an_old_kernel_is_refused_with_the_version_that_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.release", lambda: "5.10.0-amd64")
    with pytest.raises(UnavailableError, match=r"5\.10.*5\.19"):
        preflight.require_kernel()


def test_too_little_space_says_how_much_is_needed(tmp_path: Path) -> None:
    preflight.require_space(tmp_path / "not" / "yet", 1)
    with pytest.raises(ExhaustedError, match="SANDBANK_DATA_DIR"):
        preflight.require_space(tmp_path, 10**9)


def test_only_missing_packages_are_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packages, "REQUIRED", {"sh": "dash", "no-such-program": "wanted", "/no/such/file": "keys"})
    assert packages.missing_packages() == ["keys", "wanted"]


def test_json_has_every_finding_and_the_answer_is_about_failures(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    findings = [ok("one", "fine"), warn("two", "hm", costs="something", fix="do it")]
    monkeypatch.setattr(doctor, "examine", lambda settings: iter(findings))
    assert doctor.doctor(NodeSettings(), as_json=True)
    assert [item["state"] for item in json.loads(capsys.readouterr().out)] == ["ok", "warn"]
    findings.append(fail("three", "gone", fix="repair it"))
    assert not doctor.doctor(NodeSettings(), as_json=True)
