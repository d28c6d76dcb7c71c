"""`sandbox.files` without watches, synchronous."""

from __future__ import annotations

import io
import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from e2b import FileNotFoundException, FileType, InvalidArgumentException, NotEnoughSpaceException, Sandbox, SandboxException
from e2b.sandbox.filesystem.filesystem import WriteEntry

HOME = "/home/user"


@pytest.fixture
def folder(sandbox: Sandbox) -> str:
    """A fresh directory below the home of the user."""
    path = f"{HOME}/{uuid.uuid4().hex[:12]}"
    assert sandbox.files.make_dir(path) is True
    return path


def test_write_says_what_was_written(sandbox: Sandbox) -> None:
    written = sandbox.files.write("relative.txt", "text")
    assert (written.name, written.type, written.path) == ("relative.txt", FileType.FILE, f"{HOME}/relative.txt")
    assert sandbox.files.read("relative.txt") == "text"
    assert sandbox.files.read(f"{HOME}/relative.txt") == "text"
    assert sandbox.files.read("~/relative.txt") == "text"


def test_write_replaces(sandbox: Sandbox, folder: str) -> None:
    sandbox.files.write(f"{folder}/f", "a longer first content")
    sandbox.files.write(f"{folder}/f", "second")
    assert sandbox.files.read(f"{folder}/f") == "second"


def test_write_makes_missing_directories_of_the_user(sandbox: Sandbox, folder: str) -> None:
    sandbox.files.write(f"{folder}/a/b/c.txt", "deep")
    assert sandbox.commands.run(f"stat -c '%U:%G %a' {folder}/a {folder}/a/b {folder}/a/b/c.txt").stdout == (
        "user:user 755\nuser:user 755\nuser:user 644\n"
    )


@pytest.mark.parametrize("octets", [False, True])
def test_every_kind_of_data(sandbox: Sandbox, folder: str, octets: bool) -> None:
    binary = bytes(range(256)) * 64
    files: list[tuple[str, str | bytes | io.IOBase, bytes]] = [
        ("text", "Grüße 🦕", "Grüße 🦕".encode()),
        ("bytes", binary, binary),
        ("empty", "", b""),
        ("object", io.BytesIO(binary), binary),
        ("lines", io.StringIO("one\ntwo\n"), b"one\ntwo\n"),
    ]
    for name, data, expected in files:
        sandbox.files.write(f"{folder}/{name}", data, use_octet_stream=octets)
        assert bytes(sandbox.files.read(f"{folder}/{name}", format="bytes")) == expected


def test_iterables_are_streamed(sandbox: Sandbox, folder: str) -> None:
    sandbox.files.write(f"{folder}/f", (f"{number}\n".encode() for number in range(10_000)))
    assert sandbox.commands.run(f"wc -l < {folder}/f").stdout.strip() == "10000"


def test_large_file_survives_the_round_trip(sandbox: Sandbox, folder: str) -> None:
    data = bytes(range(256)) * (32 * 4096)
    sandbox.files.write(f"{folder}/large", data)
    assert sandbox.commands.run(f"stat -c %s {folder}/large").stdout == f"{len(data)}\n"
    assert bytes(sandbox.files.read(f"{folder}/large", format="bytes")) == data


def test_read_as_text_bytes_and_stream(sandbox: Sandbox, folder: str) -> None:
    sandbox.files.write(f"{folder}/f", "content ü")
    assert sandbox.files.read(f"{folder}/f") == "content ü"
    assert sandbox.files.read(f"{folder}/f", format="bytes") == bytearray("content ü".encode())
    with sandbox.files.read(f"{folder}/f", format="stream") as stream:
        assert b"".join(stream) == "content ü".encode()


def test_empty_file_in_every_format(sandbox: Sandbox, folder: str) -> None:
    sandbox.files.write(f"{folder}/empty", b"")
    assert sandbox.files.read(f"{folder}/empty") == ""
    assert sandbox.files.read(f"{folder}/empty", format="bytes") == bytearray()
    assert b"".join(sandbox.files.read(f"{folder}/empty", format="stream")) == b""


@pytest.mark.parametrize("file_format", ["text", "bytes", "stream"])
def test_read_of_what_is_not_there(sandbox: Sandbox, folder: str, file_format: str) -> None:
    with pytest.raises(FileNotFoundException):
        sandbox.files.read(f"{folder}/missing", format=file_format)  # type: ignore[call-overload]


def test_read_of_a_directory_is_refused(sandbox: Sandbox, folder: str) -> None:
    with pytest.raises(InvalidArgumentException, match="is a directory"):
        sandbox.files.read(folder)


def test_write_over_a_directory_is_refused(sandbox: Sandbox, folder: str) -> None:
    with pytest.raises(SandboxException):
        sandbox.files.write(folder, "text")


def test_gzip_up_and_down(sandbox: Sandbox, folder: str) -> None:
    text = "squeeze me " * 10_000
    sandbox.files.write(f"{folder}/f", text, gzip=True)
    assert sandbox.commands.run(f"wc -c < {folder}/f").stdout.strip() == str(len(text))
    assert sandbox.files.read(f"{folder}/f") == text
    assert sandbox.files.read(f"{folder}/f", gzip=True) == text
    assert sandbox.files.read(f"{folder}/f", format="bytes", gzip=True) == text.encode()


def test_many_files_in_one_call(sandbox: Sandbox, folder: str) -> None:
    assert sandbox.files.write_files([]) == []
    entries = [WriteEntry(path=f"{folder}/{number}/file.txt", data=f"content {number}") for number in range(9)]
    root = f"/{uuid.uuid4().hex[:8]}"
    entries.append(WriteEntry(path=f"{root}/file.txt", data=b"at the root"))
    written = sandbox.files.write_files(entries)
    assert [(info.name, info.type, info.path) for info in written] == [("file.txt", FileType.FILE, entry["path"]) for entry in entries]
    for entry in entries:
        data = entry["data"]
        assert isinstance(data, str | bytes)
        assert sandbox.files.read(entry["path"]) == (data.decode() if isinstance(data, bytes) else data)
    assert sandbox.commands.run(f"stat -c %U {root} {root}/file.txt").stdout == "user\nuser\n"


@pytest.mark.parametrize("gzip", [False, True])
def test_many_files_as_octets(sandbox: Sandbox, folder: str, gzip: bool) -> None:
    entries = [WriteEntry(path=f"{folder}/{number}", data=f"content {number}") for number in range(5)]
    sandbox.files.write_files(entries, use_octet_stream=True, gzip=gzip)
    assert [sandbox.files.read(f"{folder}/{number}") for number in range(5)] == [f"content {number}" for number in range(5)]


def test_write_as_root(sandbox: Sandbox) -> None:
    written = sandbox.files.write("of-root.txt", "root's", user="root")
    assert written.path == "/root/of-root.txt"
    assert sandbox.commands.run("stat -c %U:%G /root/of-root.txt", user="root").stdout == "root:root\n"


def test_info_of_a_file(sandbox: Sandbox, folder: str) -> None:
    sandbox.files.write(f"{folder}/f", "1234")
    info = sandbox.files.get_info(f"{folder}/f")
    assert (info.name, info.type, info.path, info.size) == ("f", FileType.FILE, f"{folder}/f", 4)
    assert (info.mode, info.permissions, info.owner, info.group) == (0o644, "-rw-r--r--", "user", "user")
    assert abs(info.modified_time.astimezone(UTC) - datetime.now(UTC)) < timedelta(minutes=1)
    assert info.symlink_target is None
    assert info.metadata is None


def test_info_of_a_directory(sandbox: Sandbox, folder: str) -> None:
    info = sandbox.files.get_info(folder)
    assert (info.type, info.mode, info.permissions, info.owner, info.group) == (FileType.DIR, 0o755, "drwxr-xr-x", "user", "user")
    assert info.size > 0


def test_info_of_links(sandbox: Sandbox, folder: str) -> None:
    sandbox.commands.run("echo -n data > target; ln -s target link; ln -s nowhere broken", cwd=folder)
    info = sandbox.files.get_info(f"{folder}/link")
    assert (info.name, info.path, info.symlink_target) == ("link", f"{folder}/link", f"{folder}/target")
    assert info.permissions == "Lrwxrwxrwx"
    broken = sandbox.files.get_info(f"{folder}/broken")
    assert broken.symlink_target == f"{folder}/broken"
    with pytest.raises(FileNotFoundException):
        sandbox.files.get_info(f"{folder}/missing")


def test_list_goes_as_deep_as_asked(sandbox: Sandbox, folder: str) -> None:
    sandbox.commands.run("mkdir -p subdir1/subdir1_1 subdir1/subdir1_2 subdir2/subdir2_1 subdir2/subdir2_2; echo x > file1.txt", cwd=folder)
    shallow = ["file1.txt", "subdir1", "subdir2"]
    deep = ["file1.txt", "subdir1", "subdir1_1", "subdir1_2", "subdir2", "subdir2_1", "subdir2_2"]
    assert [entry.name for entry in sandbox.files.list(folder)] == shallow
    for depth, names in ((1, shallow), (2, deep), (3, deep)):
        assert [entry.name for entry in sandbox.files.list(folder, depth=depth)] == names
    with pytest.raises(InvalidArgumentException, match="depth should be at least"):
        sandbox.files.list(folder, depth=-1)
    first = sandbox.files.list(folder, depth=2)[2]
    assert (first.path, first.type, first.mode, first.owner) == (f"{folder}/subdir1/subdir1_1", FileType.DIR, 0o755, "user")


def test_list_of_nothing_and_of_what_is_no_directory(sandbox: Sandbox, folder: str) -> None:
    assert sandbox.files.list(folder) == []
    with pytest.raises(FileNotFoundException):
        sandbox.files.list(f"{folder}/missing")
    sandbox.files.write(f"{folder}/f", "x")
    with pytest.raises(InvalidArgumentException, match="is not a directory"):
        sandbox.files.list(f"{folder}/f")


def test_list_through_a_link_keeps_the_asked_for_path(sandbox: Sandbox, folder: str) -> None:
    sandbox.commands.run("mkdir real; echo x > real/inside; ln -s real alias", cwd=folder)
    assert [entry.path for entry in sandbox.files.list(f"{folder}/alias")] == [f"{folder}/alias/inside"]


def test_make_dir_says_whether_it_made_one(sandbox: Sandbox, folder: str) -> None:
    assert sandbox.files.make_dir(f"{folder}/x/y/z") is True
    assert sandbox.files.make_dir(f"{folder}/x/y/z") is False
    sandbox.files.write(f"{folder}/f", "x")
    with pytest.raises(SandboxException, match="not a directory"):
        sandbox.files.make_dir(f"{folder}/f")


def test_exists(sandbox: Sandbox, folder: str) -> None:
    sandbox.files.write(f"{folder}/f", "x")
    assert sandbox.files.exists(f"{folder}/f") is True
    assert sandbox.files.exists(folder) is True
    assert sandbox.files.exists(f"{folder}/missing") is False


def test_remove_files_trees_and_nothing(sandbox: Sandbox, folder: str) -> None:
    sandbox.files.write(f"{folder}/tree/deep/f", "x")
    sandbox.files.remove(f"{folder}/tree")
    assert sandbox.files.exists(f"{folder}/tree") is False
    sandbox.files.remove(f"{folder}/tree")


def test_rename(sandbox: Sandbox, folder: str) -> None:
    sandbox.files.write(f"{folder}/old", "content")
    renamed = sandbox.files.rename(f"{folder}/old", f"{folder}/new/place")
    assert (renamed.name, renamed.type, renamed.path) == ("place", FileType.FILE, f"{folder}/new/place")
    assert sandbox.files.exists(f"{folder}/old") is False
    assert sandbox.files.read(f"{folder}/new/place") == "content"
    with pytest.raises(FileNotFoundException):
        sandbox.files.rename(f"{folder}/missing", f"{folder}/other")


def test_rename_replaces_a_file_and_moves_directories(sandbox: Sandbox, folder: str) -> None:
    sandbox.files.write_files([WriteEntry(path=f"{folder}/a", data="a"), WriteEntry(path=f"{folder}/b", data="b")])
    sandbox.files.rename(f"{folder}/a", f"{folder}/b")
    assert sandbox.files.read(f"{folder}/b") == "a"
    sandbox.files.write(f"{folder}/tree/f", "leaf")
    sandbox.files.rename(f"{folder}/tree", f"{folder}/moved")
    assert sandbox.files.read(f"{folder}/moved/f") == "leaf"


def test_rename_of_a_directory_of_the_template(sandbox: Sandbox) -> None:
    sandbox.files.rename("/usr/share/doc", "/usr/share/documents")
    assert sandbox.files.exists("/usr/share/doc") is False
    assert len(sandbox.files.list("/usr/share/documents")) > 0


@pytest.mark.parametrize("octets", [False, True])
def test_metadata_is_kept_with_the_file(sandbox: Sandbox, folder: str, octets: bool) -> None:
    metadata = {"author": "mish", "purpose": "test"}
    written = sandbox.files.write(f"{folder}/f", "x", metadata=metadata, use_octet_stream=octets)
    assert written.metadata == metadata
    assert sandbox.files.get_info(f"{folder}/f").metadata == metadata
    assert [entry.metadata for entry in sandbox.files.list(folder)] == [metadata]
    assert sandbox.files.rename(f"{folder}/f", f"{folder}/g").metadata == metadata
    sandbox.files.write(f"{folder}/g", "plain", use_octet_stream=octets)
    assert sandbox.files.get_info(f"{folder}/g").metadata is None


def test_metadata_of_many_files_and_from_inside(sandbox: Sandbox, folder: str) -> None:
    entries = [WriteEntry(path=f"{folder}/{name}", data=name) for name in ("a", "b")]
    written = sandbox.files.write_files(entries, metadata={"batch": "1"})
    assert [info.metadata for info in written] == [{"batch": "1"}] * 2
    sandbox.files.write(f"{folder}/c", "x")
    sandbox.commands.run(f"python3 -c \"import os; os.setxattr('{folder}/c', 'user.e2b.author', b'mish')\"")
    assert sandbox.files.get_info(f"{folder}/c").metadata == {"author": "mish"}


def test_links_say_that_they_are_links(sandbox: Sandbox, folder: str) -> None:
    """sdk-latest §2.4: `isSymlink` beside the type of the target."""
    sandbox.commands.run("mkdir dir; ln -s dir link", cwd=folder)
    assert sandbox.files.get_info(f"{folder}/link").type == FileType.SYMLINK
    assert [(entry.name, entry.type) for entry in sandbox.files.list(folder)] == [("dir", FileType.DIR), ("link", FileType.SYMLINK)]


def test_a_disk_that_is_full(make_sandbox: Callable[..., Sandbox]) -> None:
    """§4.5, §6.4: 507, what had room stays, and the sandbox goes on."""
    sandbox = make_sandbox()
    free = int(sandbox.commands.run("cat /sys/fs/quota/max_referenced").stdout)
    piece = bytes(4 << 20)
    with pytest.raises(NotEnoughSpaceException, match="not enough disk space available"):
        sandbox.files.write("/home/user/endless", (piece for _ in range(free // len(piece) + 8)), request_timeout=120)
    assert sandbox.files.get_info("/home/user/endless").size > 0
    sandbox.files.remove("/home/user/endless")
    assert sandbox.commands.run("echo on").stdout == "on\n"


def test_a_hostile_tree_is_removed(sandbox: Sandbox, folder: str) -> None:
    """§3.6: deeper than any path is long."""
    script = "import os\nfor _ in range(1500):\n    os.mkdir('x' * 40)\n    os.chdir('x' * 40)\n"
    sandbox.files.write(f"{folder}/make.py", script)
    sandbox.commands.run("mkdir tree && cd tree && python3 ../make.py", cwd=folder)
    sandbox.files.remove(f"{folder}/tree")
    assert sandbox.files.exists(f"{folder}/tree") is False
