"""Contract templates-and-data §1.10: which images are taken, as what, and in which words the others are refused."""

from __future__ import annotations

import pytest

from sandbank.domain.errors import InvalidError
from sandbank.template_manager.core.distributions import Distribution, detect


@pytest.mark.parametrize(
    ("os_release", "family", "group"),
    [
        ('PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\nID=debian\nHOME_URL="https://www.debian.org/"\n', "debian", "sudo"),
        ("ID=ubuntu\nID_LIKE=debian\n", "debian", "sudo"),
        ("ID=fedora\n", "fedora", "wheel"),
        ('ID="centos"\nID_LIKE="rhel fedora"\n', "fedora", "wheel"),
        ('ID="rocky"\n', "fedora", "wheel"),
        ("ID='almalinux'\n", "fedora", "wheel"),
        ("ID=arch\n", "arch", "wheel"),
        ("ID=archarm\nID_LIKE=arch\n", "arch", "wheel"),
        ("ID=alpine\r\n", "alpine", "wheel"),
    ],
)
def test_supported_distributions_are_known_by_their_id(os_release: str, family: str, group: str) -> None:
    warnings: list[str] = []
    found = detect(os_release, warnings.append)
    assert (found.family, found.admin_group, warnings) == (family, group, [])


def test_an_unknown_id_falls_back_to_id_like_with_a_warning() -> None:
    warnings: list[str] = []
    assert detect('ID=linuxmint\nID_LIKE="ubuntu debian"\n', warnings.append) == Distribution("linuxmint", "debian")
    assert len(warnings) == 1
    assert "linuxmint" in warnings[0]
    assert "ubuntu" in warnings[0]


@pytest.mark.parametrize(
    "os_release",
    [
        "ID=rhel\nID_LIKE=fedora",
        'ID="ol"\nID_LIKE=fedora',
        'ID="amzn"\nID_LIKE="fedora"',
        "ID=nixos",
        "ID=void",
        "",
        'ID="open',
        "#ID=debian",
    ],
)
def test_others_are_refused_in_e2bs_words(os_release: str) -> None:
    with pytest.raises(InvalidError, match=r"^unsupported base image distribution: ID='\w*'\nsupported distributions: almalinux, alpine, "):
        detect(os_release, print)
