"""Names under localhost where the C library does not know them, in a mount namespace of the test's own. Needs root."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

PROGRAM = """
import sys
from pathlib import Path
from sandbank.cli.names import find_addresses, prepare_names
from sandbank.servicekit.public_domain import PublicDomain
print(prepare_names(PublicDomain.parse("sandbank.localhost:3002"), Path(sys.argv[1]), lambda line: None))
print(*find_addresses("49983-iaaaaaaaaaaaaaaaaaaaa.sandbank.localhost"))
"""
WITHOUT_NAMES = 'mount --bind "$1" /etc/nsswitch.conf && mount --bind "$2" /etc/resolv.conf && shift 2 && exec "$@"'


def test_names_below_localhost_resolve_here(tmp_path: Path) -> None:
    """`sandbank up` has seen to it, as it does on every machine."""
    done = subprocess.run([sys.executable, "-c", PROGRAM, str(tmp_path / "tried")], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[0] == "None"
    assert "127.0.0.1" in done.stdout.splitlines()[1].split()


def test_without_names_and_packages_it_is_said_in_one_line(tmp_path: Path) -> None:
    """A closed network: neither a resolver nor a package manager."""
    (tmp_path / "nsswitch.conf").write_text("hosts: files dns\n")
    (tmp_path / "resolv.conf").write_text("nameserver 127.0.0.254\noptions timeout:1 attempts:1\n")
    command = ["unshare", "--mount", "sh", "-c", WITHOUT_NAMES, "sh", str(tmp_path / "nsswitch.conf"), str(tmp_path / "resolv.conf")]
    command += ["/usr/bin/env", "PATH=/nowhere", sys.executable, "-c", PROGRAM, str(tmp_path / "tls" / "tried")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    said, addresses = done.stdout.splitlines()
    assert "apt-get install libnss-myhostname" in said
    assert addresses == ""
    assert "please install by hand" in (tmp_path / "tls" / "tried").read_text()
