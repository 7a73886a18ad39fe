"""Files by content: what is stored is named by its SHA-256, and never changes.

Through fsspec, so that a folder, ``s3://`` and ``gs://`` are the same here. A file is put in
place under a temporary name and renamed, so a name that exists holds the whole content; a
database row that names it is written afterwards.
"""

from __future__ import annotations

import hashlib
import os
import uuid
from collections.abc import Collection
from typing import Any

import fsspec
from sqlalchemy.engine import make_url

from autosearch.errors import NotFoundError, StorageError
from autosearch.store.database import Database

__all__ = ["ARTIFACTS_VARIABLE", "ArtifactStore"]

ARTIFACTS_VARIABLE = "AUTOSEARCH_ARTIFACTS"


class ArtifactStore:
    """Stores bytes and answers their SHA-256.

    Args:
        root: A folder or an fsspec URL such as ``s3://bucket/prefix``.

    Raises:
        StorageError: The URL's kind of store is not known or not installed.
    """

    def __init__(self, root: str) -> None:
        try:
            self._files, self._root = fsspec.core.url_to_fs(root)
        except (ValueError, ImportError) as error:
            raise StorageError(
                f'artifact store "{root}" cannot be opened ({error}); '
                f"set {ARTIFACTS_VARIABLE} to a folder or an installed fsspec URL"
            ) from error

    @classmethod
    def beside(cls, database: Database, root: str | None = None) -> ArtifactStore:
        """The store of a database: the argument, else the environment's, else a folder by it."""
        return cls(root or os.environ.get(ARTIFACTS_VARIABLE) or _folder_by(database))

    @property
    def root(self) -> str:
        """Where the files are, as a path or URL."""
        return str(self._files.unstrip_protocol(self._root)) if self._is_remote else self._root

    def is_beside(self, database: Database) -> bool:
        """Whether it is the folder by a database, and not one that was named for several."""
        return self.root == ArtifactStore(_folder_by(database)).root

    def exists(self) -> bool:
        """Whether anything was ever stored.

        Raises:
            StorageError: The place cannot be reached.
        """
        try:
            return bool(self._files.exists(self._root))
        except OSError as error:
            raise StorageError(
                f'artifact store "{self.root}" cannot be reached ({error}); '
                f"set {ARTIFACTS_VARIABLE} to another place"
            ) from error

    def put(self, content: bytes) -> str:
        """Stores the content, if it is not there yet.

        Raises:
            StorageError: The store cannot be written.
        """
        sha256 = hashlib.sha256(content).hexdigest()
        path = self._path(sha256)
        try:
            if self._files.exists(path):
                return sha256
            self._files.makedirs(path.rsplit("/", 1)[0], exist_ok=True)
            temporary = f"{path}.{uuid.uuid4().hex}"
            self._files.pipe_file(temporary, content)
            self._files.mv(temporary, path)
        except OSError as error:
            raise StorageError(
                f'artifact store "{self.root}" cannot be written ({error.strerror or error}); '
                f"free some space there, or set {ARTIFACTS_VARIABLE} to another place"
            ) from error
        return sha256

    def get(self, sha256: str) -> bytes:
        """The content of that SHA-256, checked.

        Raises:
            NotFoundError: It is not in the store.
            StorageError: What is stored there is damaged, or cannot be read.
        """
        try:
            content: bytes = self._files.cat_file(self._path(sha256))
        except FileNotFoundError as error:
            raise NotFoundError(
                f'artifact {sha256[:12]}… is not in "{self.root}"; '
                f"set {ARTIFACTS_VARIABLE} to where the study's files are"
            ) from error
        except OSError as error:
            raise StorageError(
                f'artifact "{self.url(sha256)}" cannot be read ({error.strerror or error}); '
                "check who may read it, and that the store can be reached"
            ) from error
        if hashlib.sha256(content).hexdigest() != sha256:
            raise StorageError(f'artifact "{self.url(sha256)}" is damaged: its content has changed')
        return content

    def url(self, sha256: str) -> str:
        """A path, or for a remote store a URL, that opens the file."""
        path = self._path(sha256)
        return str(self._files.unstrip_protocol(path)) if self._is_remote else path

    def delete(self, sha256s: Collection[str]) -> int:
        """Removes those of the files that exist, and answers how many did."""
        existing = [path for path in map(self._path, sha256s) if self._files.exists(path)]
        for path in existing:
            self._files.rm_file(path)
        return len(existing)

    @property
    def _is_remote(self) -> bool:
        protocol: Any = self._files.protocol
        return "file" not in ((protocol,) if isinstance(protocol, str) else protocol)

    def _path(self, sha256: str) -> str:
        return f"{self._root}/{sha256[:2]}/{sha256}"


def _folder_by(database: Database) -> str:
    path = database.path
    if path is None:
        return f"{make_url(database.url).database}-artifacts"
    return str(path.absolute().parent / f"{path.stem}-artifacts")
