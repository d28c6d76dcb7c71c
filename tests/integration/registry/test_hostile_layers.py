"""Archives that try to get out, to hurt the node's disk or to be more than they seem. Needs root."""

from __future__ import annotations

import contextlib
import gzip
import io
import os
import stat
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import zstandard

from sandbank.domain.errors import InvalidError
from sandbank.registry.unpacking import Room, Unpacked, unpack_layer
from tests.integration.registry.images import archive, digest_of, directory, entry, hardlink, symlink

LIMIT = 4_000_000


@pytest.fixture
def target(tmp_path: Path) -> Iterator[Path]:
    """A root with something beside it that nobody may touch."""
    (tmp_path / "beside").mkdir(mode=0o700)
    (tmp_path / "beside/secret").write_text("untouched")
    before = _state(tmp_path)
    root = tmp_path / "root"
    root.mkdir()
    yield root
    assert _state(tmp_path) == before


def _state(tmp_path: Path) -> list[tuple[str, os.stat_result, str]]:
    secret = tmp_path / "beside/secret"
    assert sorted(path.name for path in (tmp_path / "beside").iterdir()) == ["secret"]
    status = secret.lstat()
    return [(secret.name, (status.st_ino, status.st_mode, status.st_uid, status.st_nlink, status.st_mtime_ns), secret.read_text())]  # type: ignore[list-item]


async def unpack(target: Path, data: bytes, packed: bytes | None = None, *, size: int = LIMIT, entries: int = 1000) -> Unpacked:
    with tempfile.TemporaryFile() as file:
        file.write(data if packed is None else packed)
        file.flush()
        return await unpack_layer(file, digest_of(data), target, Room(size, entries, size // 1_000_000, 0))


OUT = "../beside/secret"


@pytest.mark.parametrize(
    "entries",
    [
        [entry(OUT, b"x")],
        [entry("a/../../beside/secret", b"x")],
        [directory("../beside", mode=0o777)],
        [symlink("../beside/link", "x")],
        [hardlink("stolen", OUT)],
        [entry("../beside/.wh.secret")],
        [entry(".wh...")],
        [entry(".wh..")],
        [entry(".wh.")],
        [hardlink("x", "")],
        [directory("d"), hardlink("x", "d")],
        [hardlink("x", "absent")],
        [entry("file"), entry("file/below")],
        [symlink("loop", "loop"), entry("loop/x")],
        [entry("n" * 300)],
        [directory("/".join("d" * 250))],
        [entry("x", uid=65536)],
        [entry("x", gid=1 << 40)],
        [entry("x", uid=-5)],
    ],
    ids=lambda entries: entries[-1][0].name[:30],
)
async def test_what_no_honest_image_has_is_refused(target: Path, entries: list[tuple[tarfile.TarInfo, bytes]]) -> None:
    with pytest.raises(InvalidError):
        await unpack(target, archive(*entries))


@pytest.mark.parametrize("link", ["..", "../beside", "/", "/proc/self/root", "{beside}", "../../../../../../{beside}"])
async def test_links_lead_nowhere_but_into_the_image(target: Path, link: str) -> None:
    beside = str(target.parent / "beside")
    layers = [
        [symlink("trap", link.format(beside=beside)), entry("trap/secret", b"overwritten"), entry("trap/.wh.secret")],
        [entry("trap/secret", b"overwritten"), directory("trap/beside", mode=0o777), hardlink("x", "trap/secret")],
        [entry("trap/secret/.wh..wh..opq"), entry("trap/.wh..wh..opq")],
    ]
    for layer in layers:
        with contextlib.suppress(InvalidError):  # where the link leads is not there: fine as well, `target` sees to the rest
            await unpack(target, archive(*layer))
    for path in target.rglob("*"):
        assert path.lstat().st_dev == target.stat().st_dev


async def test_absolute_names_are_the_images_own(target: Path) -> None:
    await unpack(target, archive(entry("/etc/passwd", b"root::0"), hardlink("/stolen", "/etc/passwd"), symlink("/abs", "/etc")))
    assert (target / "etc/passwd").read_bytes() == b"root::0"
    assert (target / "stolen").read_bytes() == b"root::0"
    assert os.readlink(target / "abs") == "/etc"


async def test_a_link_in_place_of_a_file_is_replaced_and_not_followed(target: Path) -> None:
    secret = str(target.parent / "beside/secret")
    await unpack(target, archive(symlink("one", secret), entry("kept", b"kept"), symlink("two", "kept"), symlink("dir", "/beside")))
    await unpack(target, archive(entry("one", b"1"), entry("two", b"2", mode=0o600), directory("dir")))
    assert (target / "kept").read_bytes() == b"kept"
    assert (target / "two").read_bytes() == b"2"
    assert not (target / "dir").is_symlink()


async def test_no_device_ever_gets_onto_the_disk(target: Path) -> None:
    kinds = [tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE, b"Z"]
    entries = [entry(f"dev/n{number}", type=kind, devmajor=1, devminor=1) for number, kind in enumerate(kinds)]
    unpacked = await unpack(target, archive(*entries, *(entry(f"p{n}", type=tarfile.FIFOTYPE) for n in range(50)), entry("good", b"g")))
    assert [path.name for path in target.rglob("*") if not stat.S_ISDIR(path.lstat().st_mode)] in (["good"], ["n3", "good"], ["good", "n3"])
    assert all(stat.S_IFMT(path.lstat().st_mode) in (stat.S_IFREG, stat.S_IFDIR) for path in target.rglob("*"))
    assert any("'dev/n0' was left out" in line for line in unpacked.warnings)
    assert len(unpacked.warnings) <= 11


@pytest.mark.parametrize("kind", ["gzip", "zstd", "plain"])
async def test_a_bomb_is_noticed_before_it_fills_the_disk(target: Path, kind: str) -> None:
    data = archive(entry("zeros", bytes(40_000_000)))
    packed = {"gzip": lambda: gzip.compress(data, 1), "zstd": lambda: zstandard.ZstdCompressor().compress(data), "plain": lambda: data}[
        kind
    ]()
    with pytest.raises(InvalidError, match=r"the uncompressed Docker image size \(\d+ MB\) exceeds the maximum filesystem size \(4 MB\)"):
        await unpack(target, data, packed)
    assert sum(path.stat().st_size for path in target.rglob("*")) <= LIMIT + (1 << 20)


async def test_a_bomb_behind_the_archives_end_is_noticed(target: Path) -> None:
    data = archive(entry("x")) + bytes(40_000_000)
    with pytest.raises(InvalidError, match="exceeds the maximum"):
        await unpack(target, data, gzip.compress(data, 1))


async def test_a_file_that_is_mostly_a_hole_counts_in_full(target: Path) -> None:
    headers = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.name": "hole", "GNU.sparse.realsize": str(1 << 50)}
    data = archive(entry("hole", b"1\n0\n0\n".ljust(512, b"\0"), pax_headers=headers))
    with pytest.raises(InvalidError, match="exceeds the maximum"):
        await unpack(target, data)


async def test_more_entries_than_allowed_are_refused(target: Path) -> None:
    with pytest.raises(InvalidError, match="more entries"):
        await unpack(target, archive(*(entry(f"{number}") for number in range(20))), entries=10)


async def test_a_header_that_wants_gigabytes_gets_none(target: Path) -> None:
    header = tarfile.TarInfo("PaxHeader")
    header.type, header.size = tarfile.XHDTYPE, 7 << 30
    data = header.tobuf(tarfile.GNU_FORMAT) + bytes(5000)
    with pytest.raises(InvalidError):
        await unpack(target, data)


@pytest.mark.parametrize(
    "packed", [b"", b"garbage" * 1000, gzip.compress(b"x" * 5000)[:-20], b"\x1f\x8b" + b"x" * 50, b"\x28\xb5\x2f\xfd" + b"x" * 50]
)
async def test_damaged_layers_are_refused(target: Path, packed: bytes) -> None:
    with pytest.raises(InvalidError):
        await unpack(target, b"", packed)


async def test_an_archive_cut_short_is_refused(target: Path) -> None:
    data = archive(entry("file", b"x" * 5000))[:2000]
    with pytest.raises(InvalidError):
        await unpack(target, data)


async def test_depth_by_links_is_bounded(target: Path) -> None:
    entries = [directory("a")]
    for link, below, name in (("b", "a", "x"), ("c", "b", "y"), ("d", "c", "z"), ("e", "d", "w")):
        deep = below + f"/{name}" * 60
        entries += [directory(deep), symlink(link, deep)]
    with pytest.raises(InvalidError, match="directories deep"):
        await unpack(target, archive(*entries))


async def test_whiteouts_hide_only_what_lower_layers_have(target: Path) -> None:
    await unpack(target, archive(entry("a/b/lower", b"1"), entry("a/lower"), entry("gone/x"), entry("file")))
    await unpack(
        target,
        archive(
            entry("a/b/own", b"2"),
            entry("a/.wh..wh..opq"),
            entry("new"),
            entry(".wh.new"),
            entry(".wh.gone"),
            entry(".wh.file"),
            entry(".wh.absent"),
            entry(".wh..wh.plnk/x"),
        ),
    )
    found = sorted(str(path.relative_to(target)) for path in target.rglob("*") if path.is_file())
    assert found == ["a/b/own", "new"]


async def test_names_in_any_bytes_survive(target: Path) -> None:
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w", format=tarfile.GNU_FORMAT, encoding="latin-1") as tar:
        tar.addfile(tarfile.TarInfo("caf\xe9"))
    await unpack(target, data.getvalue())
    assert os.listdir(os.fsencode(target)) == [b"caf\xe9"]
