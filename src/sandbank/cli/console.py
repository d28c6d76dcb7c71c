"""Lines for the person at the terminal. Progress goes to standard error with the seconds since the start, results to standard output."""

from __future__ import annotations

import sys
import time

from rich.console import Console
from rich.text import Text


class Progress:
    """Says what happens now; every line begins with the seconds that have passed."""

    def __init__(self) -> None:
        self._console = Console(stderr=True, highlight=False, soft_wrap=True)
        self._started = time.monotonic()

    @property
    def seconds(self) -> float:
        """Since this object was made."""
        return time.monotonic() - self._started

    def __call__(self, line: str) -> None:
        self._console.print(Text.assemble((f"{self.seconds:6.1f} s  ", "dim"), line))


def say(text: str = "") -> None:
    """Print a result, unstyled and unwrapped: it may be pasted or piped."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def complain(text: str) -> None:
    """Print why a command fails."""
    Console(stderr=True, highlight=False, soft_wrap=True).print(Text.assemble(("sandbank: ", "bold red"), text))
