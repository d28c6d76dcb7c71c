"""The provisioning scripts as text: any POSIX shell can read them, and nothing of a template's name gets out of its quotes."""

from __future__ import annotations

import subprocess

import pytest

from sandbank.template_manager.core.distributions import detect
from sandbank.template_manager.core.provisioning import finalize_script, provision_script, user_script

IDS = ["debian", "ubuntu", "fedora", "rocky", "arch", "alpine"]


@pytest.mark.parametrize("shell", [["dash"], ["bash", "--posix"], ["busybox", "sh"]], ids=" ".join)
@pytest.mark.parametrize("distribution_id", IDS)
def test_every_shell_can_read_them(distribution_id: str, shell: list[str]) -> None:
    distribution = detect(f"ID={distribution_id}", print)
    for script in (provision_script(distribution), user_script(), finalize_script({"ENV_ID": "t"})):
        done = subprocess.run([*shell, "-n"], input=script, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    ("distribution_id", "installs"),
    [("debian", "apt-get -qq "), ("rocky", "dnf "), ("arch", "pacman --sync"), ("alpine", "apk add")],
)
def test_each_distribution_is_asked_by_its_own_package_manager(distribution_id: str, installs: str) -> None:
    assert installs in provision_script(detect(f"ID={distribution_id}", print))


def test_an_image_is_told_what_it_is() -> None:
    script = provision_script(detect("ID='x$(id)'\nID_LIKE=alpine", print))
    assert """'E2B_DISTRO_ID='"'"'x$(id)'"'"'\nE2B_INIT_SYSTEM=none\nE2B_ADMIN_GROUP=wheel'""" in script


def test_names_of_templates_and_builds_are_only_text() -> None:
    assert "identity='ENV_ID=a b\nBUILD_ID=$(touch /x)'" in finalize_script({"ENV_ID": "a b", "BUILD_ID": "$(touch /x)"})
