"""Images on disk: the part of a registry that knows what is complete."""

from __future__ import annotations

import asyncio
import hashlib
import re
from pathlib import Path

from sandbank.aiokit.tasks import finish
from sandbank.artifacts.atomic import sync_directory, write_atomically
from sandbank.docker_reverse_proxy.adapters.store_files import StoreFiles
from sandbank.docker_reverse_proxy.core.images import TAG, format_digest, parse_digest, parse_manifest, unknown_manifest
from sandbank.docker_reverse_proxy.core.ports import StoredBlob, StoredManifest
from sandbank.domain.errors import InvalidError, NotFoundError

_TAG = re.compile(TAG)


class ImageStore:
    """See `Images`. Files are touched in threads."""

    def __init__(self, files: StoreFiles) -> None:
        self._files = files

    async def get_blob(self, repository: str, digest: str) -> StoredBlob:
        """See `Images`."""
        return await asyncio.to_thread(self._get_blob, repository, parse_digest(digest))

    async def mount(self, repository: str, source: str, digest: str) -> bool:
        """See `Images`."""
        return await finish(asyncio.to_thread(self._mount, repository, source, parse_digest(digest)))

    async def get_manifest(self, repository: str, reference: str) -> StoredManifest:
        """See `Images`."""
        return await asyncio.to_thread(self._get_manifest, repository, reference)

    async def put_manifest(self, repository: str, reference: str, media_type: str, content: bytes) -> str:
        """See `Images`."""
        return await finish(asyncio.to_thread(self._put_manifest, repository, reference, media_type, content))

    def _get_blob(self, repository: str, digest: str) -> StoredBlob:
        path = self._files.blob(digest)
        with self._files.lock:
            found = self._files.touch(self._files.blob_link(repository, digest)) and self._files.touch(path)
        if not found:
            raise NotFoundError(f"there is no blob {format_digest(digest)}", error_code="BLOB_UNKNOWN")
        return StoredBlob(path, path.stat().st_size)

    def _mount(self, repository: str, source: str, digest: str) -> bool:
        try:
            found = self._get_blob(source, digest)
        except NotFoundError:
            return False
        if found.size_bytes > self._files.allowance_bytes(repository):
            return False
        with self._files.lock:
            if not self._files.touch(found.path):
                return False
            self._link(repository, digest)
        return True

    def has_blob(self, repository: str, digest: str) -> bool:
        """Whether the repository has it."""
        return self._files.blob_link(repository, digest).exists()

    def adopt(self, repository: str, digest: str, data: Path) -> None:
        """Make the file `data`, whose content is verified and on the disk, a blob of the repository, durably. Blocks."""
        blob = self._files.blob(digest)
        with self._files.lock:
            self._files.make_durable_directory(blob.parent)
            self._files.touch(data)
            data.rename(blob)  # the same bytes, if it was there already
            sync_directory(blob.parent)
            self._link(repository, digest)

    def _link(self, repository: str, digest: str) -> None:
        link = self._files.blob_link(repository, digest)
        self._files.make_durable_directory(link.parent)
        write_atomically(link, b"", 0o600)
        self._files.touch(link)

    def _get_manifest(self, repository: str, reference: str) -> StoredManifest:
        named = None if ":" in reference else self._read(self._tag(repository, reference), reference).decode()
        digest = named or parse_digest(reference)
        media_type = self._read(self._files.manifest_link(repository, digest), reference).decode()
        return StoredManifest(self._read(self._files.blob(digest), reference), format_digest(digest), media_type)

    @staticmethod
    def _read(path: Path, reference: str) -> bytes:
        try:
            return path.read_bytes()
        except FileNotFoundError as error:
            raise unknown_manifest(reference) from error

    def _tag(self, repository: str, tag: str) -> Path:
        if _TAG.fullmatch(tag) is None:
            raise InvalidError("this is neither a tag nor a digest", error_code="TAG_INVALID")
        return self._files.tag(repository, tag)

    def _put_manifest(self, repository: str, reference: str, media_type: str, content: bytes) -> str:
        manifest = parse_manifest(content, media_type)
        digest = hashlib.sha256(content).hexdigest()
        tag = None if ":" in reference else self._tag(repository, reference)
        if tag is None and parse_digest(reference) != digest:
            raise InvalidError("the manifest has another digest", error_code="DIGEST_INVALID")
        files = self._files
        files.require_room(len(content))
        with files.lock:
            for blob in manifest.blobs:
                if not (files.touch(files.blob_link(repository, blob)) and files.touch(files.blob(blob))):
                    raise InvalidError(f"the blob {format_digest(blob)} was not uploaded", error_code="MANIFEST_BLOB_UNKNOWN")
            for child in manifest.manifests:
                if not files.touch(files.manifest_link(repository, child)):
                    raise InvalidError(f"the manifest {format_digest(child)} was not pushed", error_code="MANIFEST_BLOB_UNKNOWN")
            link, blob_path = files.manifest_link(repository, digest), files.blob(digest)
            for directory in (blob_path.parent, link.parent, *(() if tag is None else (tag.parent,))):
                files.make_durable_directory(directory)
            # In this order: what is there is complete, wherever a crash comes.
            for path, what in ((blob_path, content), (link, manifest.media_type.encode())):
                if not files.touch(path):
                    write_atomically(path, what, 0o600)
                    files.touch(path)
            if tag is not None:
                write_atomically(tag, digest.encode(), 0o600)
                files.touch(tag)
        return format_digest(digest)
