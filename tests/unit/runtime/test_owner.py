"""A program that asks whether it is root is told so, and runs as somebody else."""

from __future__ import annotations

import subprocess
from pathlib import Path

from sandbank.runtime.snapshot.owner import command, write_library


def test_the_library_answers_and_the_kernel_knows_better(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    library = write_library(tmp_path)
    said = subprocess.run([*command(Path("/usr/bin/id"), library, 54321), "-u"], capture_output=True, text=True, check=True)
    assert said.stdout == "0\n"
    status = subprocess.run(
        [*command(Path("/bin/cat"), library, 54321), "/proc/self/status"], capture_output=True, text=True, check=True
    ).stdout
    fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    assert fields["Uid"].split() == ["54321"] * 4
    own = dict(line.split(":\t", 1) for line in Path("/proc/self/status").read_text().splitlines() if ":\t" in line)
    assert fields["CapEff"] == own["CapPrm"]
