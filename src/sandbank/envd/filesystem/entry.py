"""What clients are told about one file (data-plane contract §3.4)."""

from __future__ import annotations

import os
import stat

from sandbank.contracts.filesystem import EntryInfo, FileType
from sandbank.envd.accounts import Names
from sandbank.envd.filesystem import metadata
from sandbank.envd.paths import base_name, wire_text

_KINDS = {
    stat.S_IFDIR: "d",
    stat.S_IFLNK: "L",
    stat.S_IFIFO: "p",
    stat.S_IFSOCK: "S",
    stat.S_IFBLK: "D",
    stat.S_IFCHR: "Dc",
}


def permissions(mode: int) -> str:
    """The mode as the reference's language prints it: kind and special bits as leading letters, `-` when there are none."""
    letters = _KINDS.get(stat.S_IFMT(mode), "")
    for bit, letter in ((stat.S_ISUID, "u"), (stat.S_ISGID, "g")):
        if mode & bit:
            letters += letter
    if mode & stat.S_ISVTX:
        letters += "t"
    return (letters or "-") + "".join(letter if mode & 0o400 >> index else "-" for index, letter in enumerate("rwxrwxrwx"))


def file_type(mode: int) -> FileType:
    """FILE or DIRECTORY; UNSPECIFIED for every other kind."""
    if stat.S_ISREG(mode):
        return FileType.FILE_TYPE_FILE
    if stat.S_ISDIR(mode):
        return FileType.FILE_TYPE_DIRECTORY
    return FileType.FILE_TYPE_UNSPECIFIED


# btrfs says 0 of an empty directory; clients expect more of one (contract data-plane §6.6), as ext4 has it.
_EMPTY_DIRECTORY_BYTES = 4096


def describe(path: str, names: Names) -> EntryInfo:
    """The entry at `path`: kind and mode of a link's target, everything else of the link itself. Raises `OSError`."""
    own = os.lstat(path)
    mode: int = own.st_mode
    target: str | None = None
    if stat.S_ISLNK(mode):
        try:
            mode = os.stat(path).st_mode
            target = os.path.realpath(path, strict=True)
        except OSError:  # broken or cyclic
            mode, target = 0, path
    entry = EntryInfo(
        name=wire_text(base_name(path)),
        type=file_type(mode),
        path=wire_text(path),
        size=own.st_size or (_EMPTY_DIRECTORY_BYTES if stat.S_ISDIR(own.st_mode) else 0),
        mode=stat.S_IMODE(mode) & 0o777,
        permissions=permissions(own.st_mode),
        owner=wire_text(names.user(own.st_uid)),
        group=wire_text(names.group(own.st_gid)),
        symlink_target=None if target is None else wire_text(target),
        metadata=metadata.read(path),
        is_symlink=target is not None,
    )
    entry.modified_time.seconds, entry.modified_time.nanos = divmod(own.st_mtime_ns, 1_000_000_000)
    return entry
