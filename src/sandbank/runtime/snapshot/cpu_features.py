"""What programs may have found that this machine's processor can do: who did goes on only where it can all be done."""

from __future__ import annotations

import functools
import re
from pathlib import Path

# Of the kernel's list, what programs can use: the rest are the kernel's own notes, which change with its version.
_USED = re.compile(
    r"mmx|fxsr|sse\d?|sse4_[12]|sse4a|ssse3|pni|avx\w*|amx_\w+|fma4?|f16c|aes|vaes|pclmulqdq|vpclmulqdq|gfni|sha\w*|sm[34]\w*|popcnt|abm|bmi[12]"
    r"|tbm|xop|movbe|movdir\w+|adx|cx16|lahf_lm|rdtscp|rdrand|rdseed|rdpid|fsgsbase|erms|fsrm|xsave\w*|xgetbv1|clflush\w*|clwb|serialize|pku|ospke"
    r"|waitpkg|user_shstk|asimd\w*|fp\w*|crc32\w*|atomics|sve\w*|sme\w*|bf16|i8mm|dcpop|lrcpc|jscvt|fcma|pmull|paca|pacg|bti|mte\w*"
)


@functools.cache
def local(cpuinfo: Path = Path("/proc/cpuinfo")) -> tuple[str, ...]:
    """This machine's, sorted; asked once."""
    for line in cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines():
        name, _, value = line.partition(":")
        if name.strip() in ("flags", "Features"):
            return tuple(sorted(flag for flag in value.split() if _USED.fullmatch(flag)))
    return ()


def missing(needed: tuple[str, ...]) -> list[str]:
    """Those that this machine lacks."""
    return sorted(set(needed) - set(local()))
