"""Installing software inside, from the mirrors of the node, as users do first of all."""

from __future__ import annotations

from e2b import Sandbox

from tests.conformance.security.conftest import attempt


def test_apt_get_update_and_install(sandbox: Sandbox) -> None:
    updated = attempt(sandbox, "sudo apt-get update", user="user", timeout=180)
    assert updated.code == 0, updated.output
    assert "Err:" not in updated.output
    assert "W:" not in updated.output
    installed = attempt(sandbox, "sudo apt-get install -y --no-install-recommends tree && tree --version", user="user", timeout=180)
    assert installed.code == 0, installed.output


def test_pip_install(sandbox: Sandbox) -> None:
    command = (
        "python3 -m venv ~/venv && ~/venv/bin/pip install --no-cache-dir six && ~/venv/bin/python -c 'import six; print(six.__name__)'"
    )
    done = attempt(sandbox, command, user="user", timeout=180)
    assert done.code == 0, done.output
    assert done.output.endswith("six\n")


def test_pip_install_for_the_system_and_the_user(sandbox: Sandbox) -> None:
    done = attempt(sandbox, "pip install --no-cache-dir idna && python3 -c 'import idna; print(idna.__name__)'", user="user", timeout=180)
    assert done.code == 0, done.output


def test_npm_install(sandbox: Sandbox) -> None:
    use = "node -e \"console.log(require('left-pad')('x', 3))\""
    command = f"mkdir -p ~/node && cd ~/node && npm install --no-audit --no-fund left-pad && {use}"
    done = attempt(sandbox, command, user="user", timeout=240)
    assert done.code == 0, done.output
    assert "\n  x\n" in done.output


def test_usual_tools_are_there(sandbox: Sandbox) -> None:
    tools = "bash python3 pip node npm git curl sudo ip ps"
    done = attempt(sandbox, f"for t in {tools}; do command -v $t >/dev/null || echo missing $t; done", user="user")
    assert done.output == ""
    assert attempt(sandbox, "git init -q /tmp/repository && git -C /tmp/repository status --short", user="user").code == 0
    assert attempt(sandbox, "ps aux | wc -l", user="user").code == 0
