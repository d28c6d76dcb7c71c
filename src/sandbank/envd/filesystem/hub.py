"""One inotify instance for all watches of the sandbox: the kernel allows each user few instances and many directories."""

from __future__ import annotations

import asyncio
import errno
from typing import Protocol

from sandbank.domain.errors import ExhaustedError, InternalError, SandbankError
from sandbank.envd.accounts import Names
from sandbank.envd.filesystem import inotify
from sandbank.envd.filesystem.events import EventBudget
from sandbank.envd.filesystem.inotify import Inotify, Notification

_NAMES_SECONDS = 1.0


class Subscriber(Protocol):
    """A watch, as the hub sees it."""

    def begin_batch(self) -> None: ...

    def handle(self, notification: Notification) -> None: ...

    def forget(self, descriptor: int) -> None: ...

    def end_batch(self, *, drained: bool) -> None: ...

    def fail(self, error: SandbankError) -> None: ...


def _translated(error: OSError) -> Exception:
    if error.errno in (errno.EMFILE, errno.ENFILE):
        return ExhaustedError("cannot watch: the limit of inotify instances is reached (fs.inotify.max_user_instances)")
    if error.errno in (errno.ENOSPC, errno.ENOMEM):
        return ExhaustedError("cannot watch: the limit of watched directories is reached (fs.inotify.max_user_watches)")
    return error


class WatchHub:
    """Opened by the first subscription and closed by the last: without watches it costs nothing."""

    def __init__(self) -> None:
        self.budget = EventBudget()
        self._kernel: Inotify | None = None
        self._subscribers: dict[int, list[Subscriber]] = {}
        self._active: dict[Subscriber, int] = {}
        """How many directories each follows."""
        self._names: Names | None = None
        self._names_at = 0.0

    def names(self) -> Names:
        """Owners' names, read again every second at most: events come in thousands."""
        now = asyncio.get_running_loop().time()
        if self._names is None or now - self._names_at > _NAMES_SECONDS:
            self._names, self._names_at = Names(), now
        return self._names

    def subscribe(self, path: str, subscriber: Subscriber, *, follow: bool) -> int:
        """Tell `subscriber` what happens in a directory; returns the kernel's number of it.

        `ExhaustedError` at one of the kernel's limits, `OSError` otherwise.
        """
        try:
            if self._kernel is None:
                self._kernel = Inotify()
                asyncio.get_running_loop().add_reader(self._kernel.descriptor, self._read)
            descriptor = self._kernel.add(path, follow=follow)
        except OSError as error:
            self._close_if_unused()
            raise _translated(error) from error
        subscribers = self._subscribers.setdefault(descriptor, [])
        if subscriber not in subscribers:
            subscribers.append(subscriber)
            self._active[subscriber] = self._active.get(subscriber, 0) + 1
        return descriptor

    def unsubscribe(self, descriptor: int, subscriber: Subscriber) -> None:
        """No more of that directory for `subscriber`; nothing happens if there was nothing."""
        subscribers = self._subscribers.get(descriptor)
        if subscribers is None or subscriber not in subscribers:
            return
        subscribers.remove(subscriber)
        self._count_down(subscriber)
        if not subscribers:
            del self._subscribers[descriptor]
            if self._subscribers and self._kernel is not None:
                self._kernel.remove(descriptor)
        self._close_if_unused()

    def _count_down(self, subscriber: Subscriber) -> None:
        self._active[subscriber] -= 1
        if not self._active[subscriber]:
            del self._active[subscriber]

    def _close_if_unused(self) -> None:
        if self._kernel is not None and not self._subscribers:
            asyncio.get_running_loop().remove_reader(self._kernel.descriptor)
            self._kernel.close()
            self._kernel = None
            self._names = None

    def _read(self) -> None:
        if self._kernel is None:
            return
        notifications, drained = self._kernel.read()
        concerned = tuple(self._active)
        for subscriber in concerned:
            subscriber.begin_batch()
        for notification in notifications:
            if notification.mask & inotify.OVERFLOW:
                for subscriber in concerned:
                    subscriber.fail(InternalError("watcher error: fsnotify: queue or buffer overflow"))
            elif notification.mask & inotify.IGNORED:
                for subscriber in self._subscribers.pop(notification.watch, ()):
                    self._count_down(subscriber)
                    subscriber.forget(notification.watch)
            else:
                for subscriber in tuple(self._subscribers.get(notification.watch, ())):
                    subscriber.handle(notification)
        for subscriber in concerned:
            subscriber.end_batch(drained=drained)
        self._close_if_unused()
