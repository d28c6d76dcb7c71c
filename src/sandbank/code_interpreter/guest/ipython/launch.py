"""Starts a Python kernel: run as a script, so that the user's import path stays as Python would have it."""

import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).absolute().parents[2])
from sandbank_interpreter.ipython.kernel_app import main  # noqa: E402 - found by the line above

del sys.path[0]
main()
