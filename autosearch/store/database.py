"""One database, opened either to write, made and migrated first, or to read, left untouched.

SQLite is put into write-ahead logging and given a busy timeout when it is opened to write, and
every write transaction begins with ``BEGIN IMMEDIATE``: a transaction that starts by reading and
writes later would fail at once when another process wrote in between, timeout or not.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from filelock import FileLock, Timeout
from sqlalchemy import Engine, create_engine, event, inspect
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, NoSuchModuleError, SQLAlchemyError
from sqlalchemy.orm import Session

from autosearch.errors import NotFoundError, StorageError

__all__ = [
    "DEFAULT_STORAGE",
    "STORAGE_VARIABLE",
    "Database",
    "is_plain_optuna",
    "shown_url",
    "storage_url",
]

DEFAULT_STORAGE = "sqlite:///autosearch.db"
STORAGE_VARIABLE = "AUTOSEARCH_STORAGE"
VERSION_TABLE = "autosearch_alembic_version"

_BUSY_TIMEOUT_S = 60.0
# In write-ahead logging a reader waits for nobody. Where it must, a person waits with it.
_READ_TIMEOUT_S = 5.0
_LOCK_POLL_S = 0.01
_ADVISORY_LOCK = int.from_bytes(b"autosear")


def storage_url(storage: str | None = None) -> str:
    """The database URL to use: the argument, else ``AUTOSEARCH_STORAGE``, else SQLite here.

    Args:
        storage: A database URL, or the path of an SQLite file.

    Raises:
        StorageError: The text is no database URL.
    """
    text = storage or os.environ.get(STORAGE_VARIABLE) or DEFAULT_STORAGE
    if "://" not in text:
        text = f"sqlite:///{text}"
    try:
        url = make_url(text)
        url.get_dialect()
    except (ArgumentError, NoSuchModuleError, ImportError) as error:
        raise StorageError(
            f'storage "{text}" is not a database URL; '
            "write sqlite:///FILE.db or postgresql://USER@HOST/NAME"
        ) from error
    if url.get_backend_name() not in ("sqlite", "postgresql"):
        raise StorageError(
            f'storage "{url.get_backend_name()}" is not supported; '
            "write sqlite:///FILE.db or postgresql://USER@HOST/NAME"
        )
    if url.get_backend_name() == "sqlite" and url.database in (None, "", ":memory:"):
        raise StorageError("an SQLite database in memory keeps nothing; write sqlite:///FILE.db")
    return url.render_as_string(hide_password=False)


def shown_url(storage: str | None = None) -> str:
    """The same to print or to type: without a password."""
    return make_url(storage_url(storage)).render_as_string(hide_password=True)


class Database:
    """A database of studies.

    Attributes:
        url: The database URL, as Optuna's storage takes it too.
    """

    def __init__(self, url: URL, engine: Engine) -> None:
        self._url = url
        self.url = url.render_as_string(hide_password=False)
        self._engine = engine

    @classmethod
    def open_to_write(cls, storage: str | None = None) -> Database:
        """Opens a database, making it or bringing its tables up to date first.

        Raises:
            StorageError: It cannot be reached, written or upgraded.
        """
        url = make_url(storage_url(storage))
        database = cls(url, _make_engine(url, read_only=False))
        with _explained(url):
            database._migrate()
        return database

    @classmethod
    def open_to_read(cls, storage: str | None = None) -> Database:
        """Opens a database that exists and leaves it as it is.

        Raises:
            NotFoundError: There is no such file, or no study of autosearch in it.
            StorageError: It cannot be reached, or is of another version.
        """
        url = make_url(storage_url(storage))
        path = _sqlite_path(url)
        if path is not None and not path.exists():
            raise NotFoundError(
                f'there is no database "{path}"; '
                "start a study with: autosearch run STUDY_FILE, or name another with --storage"
            )
        database = cls(url, _make_engine(url, read_only=True))
        with _explained(url):
            database._refuse_foreign_schema()
        return database

    @classmethod
    def open_existing(cls, storage: str | None = None) -> Database:
        """Opens a database to write that exists: none is made of a mistyped name.

        Raises:
            NotFoundError: There is no such file, or no study of autosearch in it.
            StorageError: It cannot be reached or written, or is of another version.
        """
        cls.open_to_read(storage).close()
        return cls.open_to_write(storage)

    @classmethod
    def open_foreign(cls, storage: str | None = None) -> Database:
        """Opens a database of whose tables nothing is known, such as one of Optuna's alone.

        Raises:
            NotFoundError: There is no such file.
            StorageError: There can be no such database.
        """
        url = make_url(storage_url(storage))
        path = _sqlite_path(url)
        if path is not None and not path.exists():
            raise NotFoundError(f'there is no database "{path}"; name one that exists')
        return cls(url, _make_engine(url, read_only=True))

    def state_of_file(self) -> tuple[Any, ...] | None:
        """Which file this is, for whoever keeps it open: another answer asks to open it again.

        Of one that was opened as if nobody could write any more, how it stands as well.

        Returns:
            None where it is a server's, or has been deleted.
        """
        if self.path is None:
            return None
        try:
            found = self.path.stat()
        except OSError:
            return None
        if "immutable" not in self._engine.url.query:
            return found.st_dev, found.st_ino
        return found.st_dev, found.st_ino, found.st_mtime_ns, found.st_size, _has_log(self.path)

    @property
    def path(self) -> Path | None:
        """The SQLite file, or None for a server."""
        return _sqlite_path(self._url)

    @property
    def shown_url(self) -> str:
        """The URL without its password."""
        return self._url.render_as_string(hide_password=True)

    @contextlib.contextmanager
    def session(self) -> Iterator[Session]:
        """A session whose work is committed at the end, or rolled back as a whole.

        Raises:
            StorageError: The database refused.
        """
        with _explained(self._url), Session(self._engine) as session, session.begin():
            yield session

    @contextlib.contextmanager
    def exclusive(self, timeout_s: float = 120.0) -> Iterator[None]:
        """Keeps the other processes out that work on this database: one at a time is inside.

        Optuna's ``ask`` takes trials twice when several processes ask one SQLite database, and
        what is left of a budget is read before it is taken. A lock of the server, or a file
        beside SQLite's; either is let go when its process dies.

        Raises:
            StorageError: Another process did not let go in time.
        """
        path = self.path
        if path is None:
            with _explained(self._url), self._engine.begin() as connection:
                connection.exec_driver_sql(f"SET LOCAL lock_timeout = '{timeout_s:g}s'")
                connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_ADVISORY_LOCK})")
                yield
            return
        try:
            with FileLock(f"{path}.lock", timeout=timeout_s, poll_interval=_LOCK_POLL_S):
                yield
        except Timeout as error:
            raise StorageError(
                f'another process has held "{path}.lock" for {timeout_s:g} s; '
                "end it, or name another database with --storage"
            ) from error

    def explained(self) -> contextlib.AbstractContextManager[None]:
        """Turns what the database says, to whoever talks to it inside, into a ``StorageError``."""
        return _explained(self._url)

    def close(self) -> None:
        """Lets go of all connections."""
        self._engine.dispose()

    def _migrate(self) -> None:
        config = _alembic_config()
        if self.path is not None:
            # Where no file can be made, a lock would wait for one in vain.
            with tempfile.TemporaryFile(dir=self.path.absolute().parent):
                pass
        with self.exclusive():
            current = _current_revision(self._engine)
            if current == _head_revision(config):
                return
            if current is not None and current not in _known_revisions(config):
                raise self._written_by_newer(current)
            # SQLite changes a constraint by making the table anew, and with foreign keys on, the
            # rows that point to it would go with the old one.
            engine = _make_engine(self._url, read_only=False, foreign_keys=False)
            with engine.begin() as connection:
                config.attributes["connection"] = connection
                command.upgrade(config, "head")
            engine.dispose()

    def _refuse_foreign_schema(self) -> None:
        current, head = _current_revision(self._engine), _head_revision(_alembic_config())
        if current is None:
            raise NotFoundError(
                f'database "{self.shown_url}" holds no study of autosearch; '
                "start one with: autosearch run STUDY_FILE"
            )
        if current != head:
            if current not in _known_revisions(_alembic_config()):
                raise self._written_by_newer(current)
            raise StorageError(
                f'database "{self.shown_url}" has schema {current}, this version reads {head}: an '
                "older version wrote it; bring it up to date with: autosearch run STUDY_FILE"
            )

    def _written_by_newer(self, current: str) -> StorageError:
        return StorageError(
            f'database "{self.shown_url}" has schema {current}, this version reads '
            f"{_head_revision(_alembic_config())}: a newer version wrote it; install that one, or "
            "name another database with --storage"
        )


def is_plain_optuna(storage: str | None = None) -> bool:
    """Whether a database holds studies of Optuna's, and none of ours.

    Raises:
        StorageError: It cannot be reached.
    """
    url = make_url(storage_url(storage))
    path = _sqlite_path(url)
    if path is not None and not path.exists():
        return False
    engine = _make_engine(url, read_only=True)
    try:
        with _explained(url), engine.connect() as connection:
            tables = set(inspect(connection).get_table_names())
    finally:
        engine.dispose()
    return VERSION_TABLE not in tables and {"studies", "trials", "trial_params"} <= tables


def _sqlite_path(url: URL) -> Path | None:
    return Path(str(url.database)) if url.get_backend_name() == "sqlite" else None


def _read_only_words(path: Path | None) -> dict[str, str]:
    """How SQLite is told to only read.

    It needs a file of its own beside the database for that, unless nobody writes.
    """
    words = {"mode": "ro", "uri": "true"}
    if path is None or os.access(path.parent, os.W_OK):
        return words
    return words if _has_log(path) else {**words, "immutable": "1"}


def _has_log(path: Path) -> bool:
    """Whether somebody has the database open to write, or was killed while they had."""
    return path.with_name(f"{path.name}-wal").exists()


def _make_engine(url: URL, *, read_only: bool, foreign_keys: bool = True) -> Engine:
    if url.get_backend_name() != "sqlite":
        try:
            return create_engine(url, pool_pre_ping=True)
        except ImportError as error:
            raise StorageError(
                "PostgreSQL needs a driver that is not installed; "
                "install it with: pip install 'psycopg[binary]'"
            ) from error
    path = _sqlite_path(url)
    if path is not None and not path.parent.is_dir():
        raise StorageError(
            f'the folder "{path.parent}" of the database does not exist; make it, '
            "or name another with --storage"
        )
    if read_only:
        url = url.set(database=f"file:{quote(str(url.database))}", query=_read_only_words(path))
    timeout_s = _READ_TIMEOUT_S if read_only else _BUSY_TIMEOUT_S
    engine = create_engine(url, connect_args={"timeout": timeout_s})

    @event.listens_for(engine, "connect")
    def _on_connect(connection: Any, _record: Any) -> None:
        # SQLAlchemy's "begin" event below starts every transaction; the driver must not.
        connection.isolation_level = None
        if foreign_keys:
            connection.execute("PRAGMA foreign_keys = ON")
        if not read_only:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = NORMAL")

    @event.listens_for(engine, "begin")
    def _on_begin(connection: Any) -> None:
        connection.exec_driver_sql("BEGIN" if read_only else "BEGIN IMMEDIATE")

    return engine


def _alembic_config() -> Config:
    config = Config()
    place = str(Path(__file__).parent / "migrations")
    config.set_main_option("script_location", place.replace("%", "%%"))
    return config


def _head_revision(config: Config) -> str | None:
    return ScriptDirectory.from_config(config).get_current_head()


def _known_revisions(config: Config) -> set[str]:
    return {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}


def _current_revision(engine: Engine) -> str | None:
    with engine.connect() as connection:
        if not inspect(connection).has_table(VERSION_TABLE):
            return None
        context = MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE})
        return context.get_current_revision()


@contextlib.contextmanager
def _explained(url: URL) -> Iterator[None]:
    """Turns what a database says into one sentence."""
    try:
        yield
    except SQLAlchemyError as error:
        shown = url.render_as_string(hide_password=True)
        reason = str(getattr(error, "orig", None) or error).strip().splitlines()[0]
        if reason == "database is locked":
            raise StorageError(
                f'another process keeps database "{shown}" locked; try again when it has ended, '
                f'or see which one it is with: fuser -v "{url.database}"'
            ) from error
        raise StorageError(
            f'database "{shown}" cannot be used ({reason}); '
            "check that it can be reached and written, or name another with --storage"
        ) from error
    except OSError as error:
        raise StorageError(
            f'database "{url.render_as_string(hide_password=True)}" cannot be written '
            f"({error.strerror or error}); make its folder writable, or name another with --storage"
        ) from error
