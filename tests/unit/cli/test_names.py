"""Domains and certificates as settings, and names that resolve (contract sdk-latest §2.1, §2.2)."""

from __future__ import annotations

import socket
import threading
from pathlib import Path
from typing import Any

import pytest

from sandbank.cli import names
from sandbank.cli.settings import NodeSettings
from sandbank.cli.tls import planned_tls
from sandbank.domain.errors import InvalidError, UnavailableError
from sandbank.servicekit.public_domain import PublicDomain

LOCAL = PublicDomain.parse("sandbank.localhost:3002")


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SANDBANK_DOMAIN", "SANDBANK_CLIENT_PROXY_PORT", "SANDBANK_CERTIFICATE", "SANDBANK_CERTIFICATE_KEY"):
        monkeypatch.delenv(name, raising=False)


def test_without_configuration_there_is_a_local_domain() -> None:
    assert str(NodeSettings().public_domain) == "sandbank.localhost:3002"
    assert str(NodeSettings(client_proxy_port=13002).public_domain) == "sandbank.localhost:13002"


@pytest.mark.parametrize(("domain", "port"), [("example.com", 443), ("example.com:8443", 8443), ("boxes.localhost:3002", 3002)])
def test_a_domain_is_served_on_its_own_port(domain: str, port: int) -> None:
    assert NodeSettings(domain=domain).client_proxy_port == port


def test_behind_a_balancer_the_ports_differ() -> None:
    settings = NodeSettings(domain="example.com", client_proxy_port=3002)
    assert (settings.client_proxy_port, str(settings.public_domain)) == (3002, "example.com")


def test_a_domain_alone_exposes_nothing() -> None:
    assert NodeSettings(domain="example.com").is_exposed is False
    assert NodeSettings(domain="example.com", bind="0.0.0.0").is_exposed is True


def test_the_environment_names_the_domain(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SANDBANK_DOMAIN", "boxes.example.com")
    assert str(NodeSettings().public_domain) == "boxes.example.com"
    monkeypatch.setenv("SANDBANK_DOMAIN", "")
    assert str(NodeSettings().public_domain) == "sandbank.localhost:3002"


@pytest.mark.parametrize(
    ("given", "complaint"),
    [
        ({"domain": "not a name"}, "not a domain name"),
        ({"domain": "localhost"}, "one label"),
        ({"domain": "example.com", "certificate": Path("/c")}, "needs its key"),
        ({"domain": "example.com", "certificate_key": Path("/k")}, "needs its key"),
        ({"certificate": Path("/c"), "certificate_key": Path("/k")}, "say which one"),
    ],
)
def test_settings_that_do_not_fit_together_are_refused(given: dict[str, Any], complaint: str) -> None:
    with pytest.raises(InvalidError, match=complaint):
        NodeSettings(**given)


def test_a_given_certificate_needs_no_local_ca(tmp_path: Path) -> None:
    given = NodeSettings(domain="example.com", certificate=tmp_path / "c", certificate_key=tmp_path / "k", data_dir=tmp_path)
    assert planned_tls(given).authority is None
    own = planned_tls(NodeSettings(domain="example.com", data_dir=tmp_path))
    assert own.authority is not None
    assert own.authority.certificate == tmp_path / "tls" / "example.com" / "ca.pem"


class Machine:
    """Stands for name service and package manager."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, resolves: bool = False, can_install: bool = True) -> None:
        self.resolves = resolves
        self.can_install = can_install
        self.installed: list[list[str]] = []
        monkeypatch.setattr(names, "find_addresses", lambda name: ("127.0.0.1",) if self.resolves else ())
        monkeypatch.setattr(names, "install_packages", self._install)

    def _install(self, packages: list[str], progress: object, *, patient: bool) -> None:
        assert not patient, "nobody waits minutes for a mirror that is not there, only for names"
        self.installed.append(packages)
        if not self.can_install:
            raise UnavailableError("no mirror")
        self.resolves = True


def test_names_that_resolve_need_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    machine = Machine(monkeypatch, resolves=True)
    assert names.prepare_names(LOCAL, tmp_path / "tried", print) is None
    assert machine.installed == []


def test_local_names_are_made_to_resolve(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    machine = Machine(monkeypatch)
    assert names.prepare_names(LOCAL, tmp_path / "tried", print) is None
    assert machine.installed == [["libnss-myhostname"]]


def test_where_nothing_can_be_installed_it_is_said_and_not_tried_again(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    machine = Machine(monkeypatch, can_install=False)
    for _ in range(2):
        problem = names.prepare_names(LOCAL, tmp_path / "tried", print)
        assert problem is not None
        assert "apt-get install libnss-myhostname" in problem
        assert "\n" not in problem
    assert len(machine.installed) == 1


def test_names_of_others_are_left_to_dns(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    machine = Machine(monkeypatch)
    problem = names.prepare_names(PublicDomain.parse("example.com"), tmp_path / "tried", print)
    assert problem is not None
    assert "wildcard DNS record" in problem
    assert machine.installed == []


def test_a_resolver_that_is_silent_is_left_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    release = threading.Event()

    def silent(*arguments: object, **options: object) -> list[object]:
        release.wait(30)
        return []

    monkeypatch.setattr(socket, "getaddrinfo", silent)
    try:
        assert names.find_addresses("api.example.com", 0.01) == ()
    finally:
        release.set()


def test_a_package_that_does_not_help_is_not_installed_at_every_start(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    tried, installed = tmp_path / "tls" / "tried", []
    monkeypatch.setattr(names, "find_addresses", lambda name: ())
    monkeypatch.setattr(names, "install_packages", lambda packages, progress, patient: installed.append(packages))
    for _ in range(2):
        assert names.prepare_names(LOCAL, tried, print) is not None
    assert len(installed) == 1
