"""The provisioning scripts, run in a small Debian that has none of what they see to. Needs root; bootstraps for a quarter of a minute."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from sandbank.domain.errors import UnavailableError
from sandbank.template_manager.adapters.chroot import ISOLATED, run_inside
from sandbank.template_manager.adapters.node_mirrors import node_apt_sources
from sandbank.template_manager.core.apt_sources import debian_default
from sandbank.template_manager.core.distributions import detect
from sandbank.template_manager.core.provisioning import finalize_script, provision_script, user_script

DEBIAN = detect("ID=debian", print)
IDENTITY = {"ENV_ID": "t", "TEMPLATE_ID": "t", "BUILD_ID": "b"}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Provisioned, with its user, and finalized: once each."""
    root = tmp_path_factory.mktemp("debian") / "root"
    sources = root.parent / "sources.list"
    sources.write_text("".join(f"{source.line}\n" for source in node_apt_sources("bookworm") or debian_default("bookworm")))
    command = [*ISOLATED, "mmdebstrap", "--mode=root", "--variant=minbase", "--quiet", "bookworm", str(root), str(sources)]
    subprocess.run(command, check=True)
    (root / "etc/resolv.conf").unlink()
    (root / "etc/resolv.conf").symlink_to("/run/elsewhere")
    (root / "etc/machine-id").write_text("0" * 32)
    (root / "home/user").mkdir()
    (root / "home/user/mine").write_text("kept")
    (root / "usr/local/bin/tool").write_text("#!/bin/sh")
    # As in a sandbox, where the node sees to names: what the image has may not matter here.
    online = 'rm -f /etc/resolv.conf; printf %s "$RESOLV_CONF" > /etc/resolv.conf'
    run_inside(root, online.replace('"$RESOLV_CONF"', f"'{Path('/etc/resolv.conf').read_text()}'"))
    for script in _scripts():
        run_inside(root, script)
    yield root
    subprocess.run(["rm", "-rf", str(root)], check=True)


def _scripts() -> list[str]:
    return [provision_script(DEBIAN), user_script(), finalize_script(IDENTITY)]


def test_what_clients_rely_on_is_there(root: Path) -> None:
    """Contract templates-and-data §1.10, §1.2.7."""
    wanted = "for name in bash sudo curl ss pgrep git jq less ping socat update-ca-certificates; do command -v $name; done"
    run_inside(root, f"set -e; {wanted}; [ -s /etc/ssl/certs/ca-certificates.crt ]; su user -c 'sudo -n true'")
    run_inside(root, '[ "$(id -Gn user)" = "user sudo" ] && [ -z "$(getcap -r /usr/bin)" ]')
    assert (root / "etc/hostname").read_text() == "e2b.local\n"
    assert (root / "etc/resolv.conf").read_text() == "nameserver 8.8.8.8\n"
    assert (root / "etc/machine-id").read_text() == ""
    assert (root / "usr/local/share/e2b/distro.env").read_text() == "E2B_DISTRO_ID=debian\nE2B_INIT_SYSTEM=none\nE2B_ADMIN_GROUP=sudo\n"
    assert (root / ".e2b").read_text() == "ENV_ID=t\nTEMPLATE_ID=t\nBUILD_ID=b\n"
    assert (root / "code").stat().st_mode & 0o777 == 0o777
    assert (root / "usr/local/bin/tool").stat().st_mode & 0o777 == 0o777
    assert (root / "home/user/mine").stat().st_uid == 1000
    assert (root / "etc/sudoers.d/user").stat().st_mode & 0o777 == 0o440
    assert r'PS1="\w \$ "' in (root / "home/user/.bashrc").read_text()


def test_again_they_need_no_network_and_touch_nothing(root: Path) -> None:
    before = _touched(root)
    packages = root / "usr/bin/apt-get"
    packages.rename(packages.with_name("apt-get.away"))
    try:
        for script in _scripts():
            run_inside(root, script)
    finally:
        packages.with_name("apt-get.away").rename(packages)
    assert _touched(root) == before


def _touched(root: Path) -> dict[str, int]:
    return {str(path): path.lstat().st_ctime_ns for path in root.rglob("*") if path.is_file() and not path.name.startswith("apt-get")}


def test_an_image_without_its_package_manager_says_what_it_lacks(root: Path) -> None:
    hide = "mount -t tmpfs none /usr/sbin && "  # in a mount namespace that ends with the script
    script = hide + "PATH=/usr/bin; " + provision_script(DEBIAN).replace("for one in apt-get;", "for one in absent;")
    with pytest.raises(UnavailableError, match=r"this image lacks .*ca-certificates.*, and a package manager"):
        run_inside(root, script)
