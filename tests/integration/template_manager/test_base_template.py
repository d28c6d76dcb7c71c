"""The base template, built with the node's package sources as `sandbank up` does. Needs root; the first run takes a minute."""

from __future__ import annotations

import asyncio
import os
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from sandbank.artifacts.layers import LayerStore
from sandbank.domain.errors import UnavailableError
from sandbank.template_manager import wiring
from sandbank.template_manager.adapters.bootstrap_layers import BootstrapLayers
from sandbank.template_manager.adapters.chroot import ISOLATED, run_inside
from sandbank.template_manager.core.apt_sources import AptSource
from sandbank.template_manager.core.bootstrap_recipe import image_recipe
from sandbank.template_manager.core.distributions import Distribution
from sandbank.template_manager.core.provisioning import finalize_script, provision_script, user_script
from sandbank.template_manager.settings import TemplateSettings
from tests.product.instance import for_tests


def artifacts() -> Path:
    """The installation for tests keeps it, too: it is built once."""
    path = for_tests().data_dir / "artifacts"
    path.mkdir(parents=True, exist_ok=True, mode=0o700)
    return path


@pytest.fixture(scope="module")
def image() -> Path:
    """The layer of the image that `base` starts from, without anything of this node's."""
    assert os.geteuid() == 0, "building templates needs root"
    images = wiring.build_images(artifacts(), TemplateSettings(mirrors="default"))
    return asyncio.run(images.get(wiring.BASE_IMAGE, None, force=False, log=print)).layers[0]


@pytest.fixture(scope="module")
def base(image: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """That image with what the build service does to it, in one directory."""
    root = tmp_path_factory.mktemp("base") / "root"
    subprocess.run(["cp", "--archive", "--reflink=auto", str(image), str(root)], check=True)
    identity = {"ENV_ID": "base", "TEMPLATE_ID": "base", "BUILD_ID": "one"}
    for script in (provision_script(Distribution("debian", "debian")), user_script(), finalize_script(identity)):
        run_inside(root, script)
    yield root
    subprocess.run(["rm", "-rf", str(root)], check=True)


def inside(root: Path, script: str, user: str = "root") -> str:
    """Output of `script` in the layer, read-only but for /tmp."""
    enter = (
        'mount --bind "$1" "$1" && mount -o remount,ro,bind "$1" && mount -t tmpfs tmp "$1/tmp" && mount -t proc proc "$1/proc"'
        ' && mount --rbind /dev "$1/dev" && exec chroot --userspec="$2" "$1" /bin/bash -lc "$3"'
    )
    command = [*ISOLATED, "sh", "-ec", enter, "enter", str(root), user, script]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env={"HOME": "/tmp", "TERM": "dumb"})
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.strip()


def test_it_is_made_only_once(image: Path) -> None:
    images = wiring.build_images(artifacts(), TemplateSettings(mirrors="default"))
    assert images.is_made(wiring.BASE_IMAGE)
    said: list[str] = []
    assert asyncio.run(images.get(wiring.BASE_IMAGE, None, force=True, log=said.append)).layers == (image,)
    assert any("stands in for e2bdev/base:latest" in line for line in said)


def test_provisioning_again_changes_nothing(base: Path) -> None:
    before = inside(base, "find / -xdev -newer /.e2b -not -path '/proc/*' -not -path '/dev/*' | sort")
    for script in (provision_script(Distribution("debian", "debian")), user_script()):
        run_inside(base, script)
    assert inside(base, "find / -xdev -newer /.e2b -not -path '/proc/*' -not -path '/dev/*' | sort") == before


def test_no_file_is_a_device_a_socket_or_shifted(base: Path) -> None:
    strange = []
    for directory, names, files in os.walk(base):
        for name in names + files:
            path = Path(directory, name)
            status = path.lstat()
            if stat.S_ISBLK(status.st_mode) or stat.S_ISCHR(status.st_mode) or stat.S_ISSOCK(status.st_mode) or status.st_uid >= 65536:
                strange.append(str(path))
    assert strange == []


def test_no_file_has_capabilities_that_no_sandbox_can_have(base: Path) -> None:
    assert subprocess.run(["getcap", "-r", str(base)], capture_output=True, text=True, check=True).stdout == ""


PROGRAMS = """
bash --version; python3 -m pip --version; python3 -c 'import venv'; python --version; node --version; npm --version; git --version
curl --version; sudo --version; ip -V; ps --version; jq --version; tput -T xterm cols; ssh -V
"""


@pytest.mark.parametrize("command", [part.strip() for part in PROGRAMS.replace("\n", ";").split(";") if part.strip()])
def test_what_everybody_expects_is_there(base: Path, command: str) -> None:
    inside(base, command)


def test_the_user_may_do_everything(base: Path) -> None:
    assert inside(base, "id -un; id -Gn; sudo -n id -u", user="user").splitlines() == ["user", "user sudo", "0"]
    home = (base / "home/user").stat()
    assert home.st_uid == 1000
    assert {".bashrc", ".profile"} <= set(os.listdir(base / "home/user"))


def test_layout(base: Path) -> None:
    assert (base / "code").stat().st_mode & 0o777 == 0o777
    assert (base / "usr/local/bin").stat().st_mode & 0o777 == 0o777
    assert (base / "usr/local/lib/node_modules").stat().st_mode & 0o777 == 0o777
    assert (base / "etc/hostname").read_text() == "e2b.local\n"
    assert "e2b.local" in (base / "etc/hosts").read_text()
    assert (base / "etc/resolv.conf").read_text() == "nameserver 8.8.8.8\n"
    assert "BUILD_ID=" in (base / ".e2b").read_text()
    assert list(base.glob("usr/lib/python3*/EXTERNALLY-MANAGED")) == []
    assert list((base / "var/lib/apt/lists").glob("*Packages*")) == []
    assert inside(base, 'echo "$SHELL"') == "/bin/bash"
    assert inside(base, "LANG=C.UTF-8 locale charmap") == "UTF-8"
    assert r'PS1="\w \$ "' in (base / "home/user/.bashrc").read_text()


def test_nothing_of_the_node_is_in_it(base: Path) -> None:
    assert (base / "etc/apt/sources.list").read_text().splitlines() == [
        "deb http://deb.debian.org/debian bookworm main",
        "deb http://deb.debian.org/debian bookworm-updates main",
        "deb http://deb.debian.org/debian-security bookworm-security main",
    ]
    assert list((base / "etc/apt/sources.list.d").iterdir()) == []
    assert list((base / "usr/local/share/ca-certificates").glob("*")) == []
    assert not (base / "etc/pip.conf").exists()
    assert not (base / "usr/local/etc/npmrc").exists()


def test_mirrors_are_a_layer_of_their_own(image: Path, tmp_path: Path) -> None:
    bundle = tmp_path / "own.pem"
    key = ["openssl", "req", "-x509", "-newkey", "ed25519", "-nodes", "-days", "2", "-subj", "/CN=Sandbank test", "-keyout", "/dev/null"]
    subprocess.run([*key, "-out", str(bundle)], check=True, capture_output=True)
    settings = TemplateSettings(mirrors="default", npm_registry="https://npm.example/", ca_bundle=bundle)
    images = wiring.build_images(artifacts(), settings)
    lower, upper = asyncio.run(images.get(wiring.BASE_IMAGE, None, force=False, log=print)).layers
    try:
        assert lower == image
        assert images.env_vars["NODE_EXTRA_CA_CERTS"] == "/etc/ssl/certs/ca-certificates.crt"
        bundled = (upper / "etc/ssl/certs/ca-certificates.crt").read_text()
        assert bundle.read_text().strip() in bundled
        assert bundled.count("BEGIN") == (image / "etc/ssl/certs/ca-certificates.crt").read_text().count("BEGIN") + 1
        assert "https://npm.example/" in (upper / "usr/local/etc/npmrc").read_text()
        assert (upper / "usr/local").stat().st_mode & 0o777 == 0o777
        assert (upper / "tmp").stat().st_mode & 0o7777 == 0o1777 if (upper / "tmp").exists() else True
    finally:
        subprocess.run(["rm", "-rf", str(upper)], check=True)


def test_a_failed_bootstrap_says_why_and_leaves_nothing(tmp_path: Path) -> None:
    unreachable = [AptSource("http://127.0.0.1:9/debian", "bookworm", ("main",))]
    layers = BootstrapLayers(LayerStore(tmp_path), lambda suite: unreachable)
    with pytest.raises(UnavailableError, match=r"127\.0\.0\.1"):
        layers.get(image_recipe("amd64"), print)
    assert list((tmp_path / "layers").iterdir()) == []
    assert list((tmp_path / "staging").iterdir()) == []
    assert str(tmp_path) not in Path("/proc/self/mountinfo").read_text()
