"""Where an SQLite file must not lie that several processes write: on a network or in the cloud.

SQLite's locks and its write-ahead log need one machine's memory; over a network they fail in
silence, and what synchronises a folder copies the file in the midst of a write.
"""

from __future__ import annotations

from pathlib import Path, PurePosixPath

from autosearch.errors import StorageError
from autosearch.store.database import Database

__all__ = ["refuse_shared_folder", "why_unsafe"]

_MOUNTS = Path("/proc/mounts")
_NETWORK_TYPES = {
    "nfs": "NFS",
    "nfs4": "NFS",
    "cifs": "CIFS",
    "smb": "SMB",
    "smb2": "SMB",
    "smb3": "SMB",
    "smbfs": "SMB",
    "fuse.sshfs": "sshfs",
}
_SYNCHRONISED = {
    "dropbox": "Dropbox",
    "onedrive": "OneDrive",
    "google drive": "Google Drive",
    "googledrive": "Google Drive",
    "my drive": "Google Drive",
    "icloud": "iCloud",
    "com~apple~clouddocs": "iCloud",
}


def refuse_shared_folder(database: Database) -> None:
    """Refuses an SQLite file that several workers would damage where it lies.

    Raises:
        StorageError: It lies on a network or in a synchronised folder.
    """
    if database.path is None:
        return
    path = database.path.resolve()
    mounts = _MOUNTS.read_text() if _MOUNTS.is_file() else ""
    reason = why_unsafe(path, mounts)
    if reason is not None:
        raise StorageError(
            f'"{path}" lies {reason}, where several workers would damage an SQLite file; '
            "put it on a disk of this machine, or name a server with "
            "--storage postgresql://USER@HOST/NAME"
        )


def why_unsafe(path: Path, mounts: str) -> str | None:
    """Why several processes must not write an SQLite file of that path; None if they may.

    Args:
        path: Absolute, with symbolic links followed.
        mounts: What is mounted, as ``/proc/mounts`` lists it.
    """
    parents = {str(parent) for parent in PurePosixPath(path.as_posix()).parents}
    nearest, kind = "", ""
    for line in mounts.splitlines():
        fields = line.split()
        if len(fields) < 3:
            continue
        # Blanks stand in octal.
        place = fields[1].replace(r"\040", " ")
        if place in parents and len(place) >= len(nearest):
            nearest, kind = place, fields[2]
    if kind in _NETWORK_TYPES:
        return f"on a network file system ({_NETWORK_TYPES[kind]} at {nearest})"
    for part in path.parts[:-1]:
        for name, service in _SYNCHRONISED.items():
            # As in "Dropbox (Personal)" and "OneDrive - Company".
            if part.lower().startswith(name):
                return f"in a folder that {service} synchronises"
    return None
