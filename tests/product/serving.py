"""Runs an installation for the duration of some tests and proves that stopping it leaves nothing behind."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from tests.product.instance import Instance, wait_until
from tests.product.inventory import Inventory, take


def leftovers(instance: Instance) -> Inventory:
    """What is left of a stopped installation, apart from what it keeps on purpose (database, layers, logs)."""
    return take(instance)


def assert_nothing_left(instance: Instance) -> None:
    """Raises with a list of whatever a stopped installation left on the node; the kernel may take a moment to free namespaces."""
    state = [leftovers(instance)]

    def empty() -> bool:
        state[0] = leftovers(instance)
        return not any(state[0].counts().values())

    try:
        wait_until(empty, "everything of the installation is gone", seconds=10.0, every=0.2)
    except AssertionError:
        raise AssertionError(f"`sandbank down` left behind:\n{state[0].describe()}") from None


@contextmanager
def serving(instance: Instance) -> Iterator[Instance]:
    """Starts the installation, points the official SDKs of this process at it, stops it afterwards and checks that nothing is left.

    An installation of the same name that an aborted run left running is stopped first, so that tests start from a known state.
    """
    instance.command("down", timeout_seconds=120.0)
    instance.up()
    try:
        with pointing_at(instance):
            yield instance
    finally:
        instance.down()
        assert_nothing_left(instance)


@contextmanager
def pointing_at(instance: Instance) -> Iterator[None]:
    """Has the official SDKs of this process speak to it."""
    before = {name: os.environ.get(name) for name in [*instance.client_environment(), "E2B_DEBUG", "E2B_DOMAIN"]}
    os.environ.update(instance.client_environment())
    os.environ.pop("E2B_DEBUG", None)
    os.environ.pop("E2B_DOMAIN", None)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
