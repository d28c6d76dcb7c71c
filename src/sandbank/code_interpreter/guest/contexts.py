"""All contexts: the default one of each language, and those that clients make."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable

from .context import Context, silently
from .kernel import Kernel, KernelFailedError
from .languages import JAVASCRIPT, LANGUAGES, PYTHON, Language

log = logging.getLogger(__name__)

MOST = 200
"""Contexts at a time: each is a process of its own."""


class UnknownContextError(Exception):
    """There is no context with this ID."""


class Contexts:
    """`make_kernel` gives a kernel of a language that has not started; raises `KernelFailedError` for one that is not installed."""

    def __init__(self, make_kernel: Callable[[Language], Kernel], home: str) -> None:
        self._make_kernel = make_kernel
        self._home = home
        self._contexts: dict[str, Context] = {}
        self._defaults: dict[str, Context] = {}
        self._locks: dict[str, asyncio.Lock] = {}

    async def open(self, warm_up: str) -> None:
        """The default contexts of Python, with this code run in it unseen, and of JavaScript, whose kernel waits for its first cell.

        A Node.js process that many sandboxes resume would give all of them the same random numbers; starting one takes some 50 ms.
        """
        python = self._new(PYTHON, self._home)
        self._defaults = {"python": python, "javascript": self._new(JAVASCRIPT, self._home)}
        await silently(await python.start(), warm_up)

    def list_all(self) -> list[Context]:
        """In the order of their creation."""
        return list(self._contexts.values())

    def get(self, context_id: str) -> Context:
        """Raises `UnknownContextError`; `default` is Python's default context."""
        if context_id == "default":
            return self._defaults["python"]
        try:
            return self._contexts[context_id]
        except KeyError:
            raise UnknownContextError(context_id) from None

    async def default(self, name: str) -> Context:
        """The one that all executions share which name this language only; made if need be. Raises `KernelFailedError`."""
        language = self._language(name)
        async with self._locks.setdefault(language.name, asyncio.Lock()):
            if language.name not in self._defaults:
                self._defaults[language.name] = await self._started(language, self._home)
            return self._defaults[language.name]

    async def create(self, name: str, cwd: str | None) -> Context:
        """A new one; raises `KernelFailedError`."""
        return await self._started(self._language(name), _directory(cwd or self._home))

    async def remove(self, context_id: str) -> None:
        """Ends its kernel; raises `UnknownContextError`."""
        context = self.get(context_id)
        self._contexts.pop(context.id, None)
        for name in [name for name, default in self._defaults.items() if default is context]:
            del self._defaults[name]
        await context.close()

    async def close(self) -> None:
        """Ends all kernels."""
        for context in self.list_all():
            await self.remove(context.id)

    def _language(self, name: str) -> Language:
        try:
            return LANGUAGES[name]
        except KeyError:
            raise KernelFailedError(f"No kernel for the language {name}") from None

    def _new(self, language: Language, cwd: str) -> Context:
        if len(self._contexts) >= MOST:
            raise KernelFailedError(f"There are {MOST} contexts already")
        context = Context(language, cwd, lambda: self._make_kernel(language))
        self._contexts[context.id] = context
        return context

    async def _started(self, language: Language, cwd: str) -> Context:
        context = self._new(language, cwd)
        try:
            await context.start()
        except BaseException:
            self._contexts.pop(context.id, None)
            await context.close()
            raise
        return context


def _directory(path: str) -> str:
    if not os.path.isdir(path):
        raise KernelFailedError(f"Failed to change directory to {path}")
    return os.path.abspath(path)
