"""`up --domain`, given certificates, the local CA, and what the commands say of them, with real TLS clients. Needs root."""

from __future__ import annotations

import json
import re
import socket
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest

from sandbank.proxy.local_authority import LocalAuthority
from sandbank.servicekit.public_domain import PublicDomain
from tests.integration.cli.conftest import PORT
from tests.product.instance import SEEDED_API_KEY, Instance, wait_until
from tests.product.serving import assert_nothing_left

DOMAIN = f"boxes.localhost:{PORT + 9}"


@dataclass(frozen=True)
class NamedInstance(Instance):
    """The client proxy's port is not said: it is the domain's."""

    def service_environment(self) -> dict[str, str]:
        """See `Instance`."""
        environment = super().service_environment()
        del environment["SANDBANK_CLIENT_PROXY_PORT"]
        return environment


@pytest.fixture
def named(instance: Instance) -> Iterator[Instance]:
    """Not running yet."""
    made = NamedInstance(**vars(instance))
    yield made
    made.down()
    assert_nothing_left(made)


def up(instance: Instance, *arguments: str) -> tuple[str, str]:
    """What was printed for programs and for people; the start succeeds."""
    done = instance.command("up", "--detach", *arguments, timeout_seconds=120)
    assert done.returncode == 0, done.stderr + instance.log_tail()
    return done.stdout, done.stderr


def refusal(instance: Instance, *arguments: str) -> str:
    """The one line of a start that fails."""
    done = instance.command("up", "--detach", *arguments)
    assert done.returncode == 1
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr
    return done.stderr


def pair(directory: Path, name: str = "boxes.localhost", now: datetime | None = None) -> LocalAuthority:
    """An authority that the product knows nothing of, and its certificate for a domain."""
    authority = LocalAuthority(directory, PublicDomain.parse(name))
    authority.prepare(now)
    return authority


def serial_number(port: int, name: str, trusted: Path) -> str:
    """Of the certificate that the port shows to a client with these authorities."""
    context = ssl.create_default_context(cafile=str(trusted))
    with socket.create_connection(("127.0.0.1", port), 10) as plain, context.wrap_socket(plain, server_hostname=name) as tls:
        found = tls.getpeercert()
    assert found is not None
    return str(found["serialNumber"])


def test_a_domain_is_served_on_its_port_and_printed_with_what_to_trust(named: Instance) -> None:
    printed, said = up(named, "--domain", DOMAIN)
    assert f"export E2B_DOMAIN={DOMAIN}" in printed
    authority = named.data_dir / "tls" / "boxes.localhost" / "ca.pem"
    assert f"export NODE_EXTRA_CA_CERTS={authority}" in printed
    assert f"export SSL_CERT_FILE={authority.with_name('bundle.pem')}" in printed
    assert f"made a local CA for boxes.localhost: {authority}" in said
    trust = ssl.create_default_context(cafile=str(authority))
    with httpx.Client(verify=trust, headers={"X-API-KEY": SEEDED_API_KEY}) as client:
        made = client.post(f"https://api.{DOMAIN}/v2/sandboxes", json={"templateID": "base"}, timeout=30).json()
        assert made["domain"] == DOMAIN
        assert client.get(f"https://49983-{made['sandboxID']}.{DOMAIN}/health").status_code == 204
    state = named.status()
    assert (state["domain"], state["healthy"]) == (DOMAIN, True)
    assert state["sandbox_url"] == f"http://localhost:{PORT + 9}"
    assert state["certificate_issuer"] == "Sandbank local CA for boxes.localhost"
    assert datetime.fromisoformat(state["certificate_expires_at"]) > datetime.now(UTC) + timedelta(days=300)
    assert DOMAIN in named.command("status").stdout


def test_the_local_ca_outlives_restarts(instance: Instance) -> None:
    up(instance)
    first = instance.command("ca").stdout
    assert first.startswith("-----BEGIN CERTIFICATE-----")
    instance.down()
    _, said = up(instance)
    assert "local CA" not in said
    assert instance.command("ca").stdout == first
    path = instance.command("ca", "--path").stdout.strip()
    assert Path(path).read_text() == first
    assert instance.command("ca", "--bundle").stdout.endswith(first)
    assert Path(path).with_name("ca.key").stat().st_mode & 0o777 == 0o600


def test_the_ca_of_an_installation_that_never_ran_is_not_there_yet(instance: Instance) -> None:
    done = instance.command("ca")
    assert done.returncode == 1
    assert "`sandbank up` makes it" in done.stderr


def test_a_given_certificate_is_shown_and_a_renewed_one_taken_without_a_restart(named: Instance, tmp_path: Path) -> None:
    given = pair(tmp_path / "given")
    printed, _ = up(named, "--domain", DOMAIN, "--certificate", str(given.server), "--key", str(given.server))
    assert "SSL_CERT_FILE" not in printed, "whoever issued it is trusted already"
    assert not (named.data_dir / "tls" / "boxes.localhost").exists()
    first = serial_number(PORT + 9, "api.boxes.localhost", given.certificate)
    pid = named.status()["pid"]
    given.server.unlink()
    given.prepare()
    wait_until(
        lambda: serial_number(PORT + 9, "api.boxes.localhost", given.certificate) != first, "the renewed certificate is shown", every=0.5
    )
    assert named.status()["pid"] == pid
    refused = named.command("ca")
    assert (refused.returncode, "no local CA" in refused.stderr) == (1, True)


def test_certificates_that_do_not_do_are_refused_at_the_start(named: Instance, tmp_path: Path) -> None:
    good, stranger = pair(tmp_path / "good").server, pair(tmp_path / "stranger").server
    other = pair(tmp_path / "other", "other.localhost").server
    old = pair(tmp_path / "old", now=datetime.now(UTC) - timedelta(days=900)).server
    for certificate, key, complaint in (
        (good, stranger, "another certificate"),
        (other, other, "does not cover api.boxes.localhost"),
        (old, old, "expired"),
        (tmp_path / "nowhere", good, "cannot be read"),
    ):
        assert complaint in refusal(named, "--domain", DOMAIN, "--certificate", str(certificate), "--key", str(key))
    assert "needs its key" in refusal(named, "--domain", DOMAIN, "--certificate", str(good))
    assert "say which one" in refusal(named, "--certificate", str(good), "--key", str(good))


def test_domains_that_cannot_be_are_refused_at_the_start(named: Instance) -> None:
    assert "expected NAME or NAME:PORT" in refusal(named, "--domain", "https://example.com")
    assert "sandbank.localhost" in refusal(named, "--domain", "localhost:3002")


def test_a_taken_port_of_the_domain_is_one_clear_line(named: Instance) -> None:
    with socket.create_server(("127.0.0.1", PORT + 9)):
        assert str(PORT + 9) in refusal(named, "--domain", DOMAIN)


def test_a_domain_that_does_not_lead_here_is_said_and_serves_all_the_same(instance: Instance) -> None:
    """Behind a balancer: the domain's port is the balancer's, ours is said by SANDBANK_CLIENT_PROXY_PORT."""
    printed, said = up(instance, "--domain", "sandboxes.invalid")
    assert len(re.findall(r"\*\.sandboxes\.invalid does not resolve", said)) == 1
    assert "export E2B_DOMAIN=sandboxes.invalid\n" in printed
    host, port = instance.proxy_address
    answer = httpx.get(f"http://{host}:{port}/health", headers={"Host": "api.sandboxes.invalid"})
    assert answer.status_code == 200
    findings = {finding["name"]: finding for finding in json.loads(instance.command("doctor", "--json").stdout)}
    assert "does not resolve" in findings["names"]["found"]
    assert findings["certificate"]["state"] == "ok"


def test_doctor_shakes_hands_with_the_running_port(instance: Instance) -> None:
    up(instance)
    findings = {finding["name"]: finding for finding in json.loads(instance.command("doctor", "--json").stdout)}
    assert (findings["names"]["state"], findings["certificate"]["state"]) == ("ok", "ok"), findings
    authority = instance.data_dir / "tls" / "sandbank.localhost" / "ca.pem"
    authority.write_bytes(pair(instance.data_dir / "stranger").certificate.read_bytes())
    findings = {finding["name"]: finding for finding in json.loads(instance.command("doctor", "--json").stdout)}
    assert findings["certificate"]["state"] == "warn"
    assert "does not accept it" in findings["certificate"]["found"]
