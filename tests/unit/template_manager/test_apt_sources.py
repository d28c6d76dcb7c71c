"""Both formats of apt's sources are read, and only what is Debian's is taken."""

from __future__ import annotations

import pytest

from sandbank.template_manager.core.apt_sources import AptSource, debian_mirror, debian_sources, has_password, parse_sources

DEB822 = """\
# the machine's own
Types: deb deb-src
URIs: http://mirror.example/debian http://second.example/debian
Suites: trixie trixie-updates
Components: main contrib
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg

Types: deb
URIs: http://mirror.example/debian-security
Suites: trixie-security
Components: main
Signed-By:
 /usr/share/keyrings/debian-archive-keyring.gpg

Enabled: no
Types: deb
URIs: http://disabled.example/debian
Suites: trixie
Components: main
"""


def test_deb822_is_read_and_moved_to_the_wanted_release() -> None:
    sources = debian_sources(parse_sources("debian.sources", DEB822), "bookworm")
    assert [source.line for source in sources] == [
        "deb http://mirror.example/debian bookworm main",
        "deb http://mirror.example/debian bookworm-updates main",
        "deb http://second.example/debian bookworm main",
        "deb http://second.example/debian bookworm-updates main",
        "deb http://mirror.example/debian-security bookworm-security main",
    ]


def test_one_line_sources_are_read() -> None:
    text = """
    # deb http://commented.example/debian bookworm main
    deb [arch=amd64 signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] http://a.example/debian bookworm main non-free  # mine
    deb-src http://a.example/debian bookworm main
    """
    assert parse_sources("sources.list", text) == [
        AptSource("http://a.example/debian", "bookworm", ("main", "non-free"), "/usr/share/keyrings/debian-archive-keyring.gpg")
    ]


@pytest.mark.parametrize(
    "line",
    [
        "deb https://download.docker.com/linux/debian bookworm stable",
        "deb [signed-by=/etc/apt/keyrings/vendor.gpg] https://apt.vendor.example bookworm main",
        "deb http://apt.postgresql.org/pub/repos/apt bookworm-pgdg main",
        "deb http://archive.ubuntu.com/ubuntu noble main",
        "deb https://deb.nodesource.com/node_20.x nodistro main",
    ],
)
def test_other_peoples_repositories_stay_out(line: str) -> None:
    assert debian_sources(parse_sources("sources.list", line), "bookworm") == ()


def test_the_old_name_of_security_updates_becomes_the_new_one() -> None:
    sources = parse_sources("sources.list", "deb http://security.example/ buster/updates main")
    assert debian_sources(sources, "bookworm") == (AptSource("http://security.example/", "bookworm-security", ("main",)),)


def test_the_same_source_counts_once() -> None:
    sources = parse_sources("sources.list", "deb http://a.example/debian bookworm main\ndeb http://a.example/debian bookworm main contrib")
    assert len(debian_sources(sources, "bookworm")) == 1


def test_a_mirror_without_security_leaves_those_out() -> None:
    assert [source.suite for source in debian_mirror("bookworm", "http://m.example/debian", None)] == ["bookworm", "bookworm-updates"]


def test_passwords_in_urls_are_noticed() -> None:
    assert has_password("https://user:secret@mirror.example/simple")
    assert has_password("https://token@mirror.example/simple")
    assert not has_password("https://mirror.example/simple")
