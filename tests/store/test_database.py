"""The database: made by migrations alone, read without a trace, explained when it refuses."""

import contextlib
import json
import multiprocessing
import os
import sqlite3
from pathlib import Path

import optuna
import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from sqlalchemy import create_engine, inspect, text

from autosearch.errors import NotFoundError, StorageError
from autosearch.store import database as database_module
from autosearch.store.database import VERSION_TABLE, Database, storage_url
from autosearch.store.readings import readings
from autosearch.store.tables import TABLE_PREFIX, Base


def test_the_migrations_make_what_the_tables_describe(tmp_path):
    url = f"sqlite:///{tmp_path / 'new.db'}"
    Database.open_to_write(url)

    def is_ours(_object, name, kind, _reflected, _compared):
        return kind != "table" or name.startswith(TABLE_PREFIX)

    with create_engine(url).connect() as connection:
        options = {"version_table": VERSION_TABLE, "include_object": is_ours}
        context = MigrationContext.configure(connection, opts=options)
        assert compare_metadata(context, Base.metadata) == []


def test_ours_and_optunas_tables_share_a_database_in_either_order(tmp_path):
    for first in ("ours", "optunas"):
        url = f"sqlite:///{tmp_path / first}.db"
        if first == "ours":
            Database.open_to_write(url)
        optuna.storages.RDBStorage(url)
        Database.open_to_write(url)
        names = inspect(create_engine(url)).get_table_names()
        assert {"alembic_version", VERSION_TABLE, "trials", "autosearch_trials"} <= set(names)


def test_reading_leaves_a_database_that_is_not_ours_as_it_was(tmp_path):
    path = tmp_path / "optuna.db"
    optuna.create_study(study_name="other", storage=f"sqlite:///{path}")
    before = path.read_bytes()
    with pytest.raises(NotFoundError, match="holds no study of autosearch"):
        Database.open_to_read(f"sqlite:///{path}")
    assert path.read_bytes() == before
    with sqlite3.connect(path) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("delete",)


@pytest.mark.parametrize("opened", [Database.open_to_read, Database.open_existing])
def test_no_file_is_made_of_a_mistyped_name(tmp_path, opened):
    path = tmp_path / "missing.db"
    with pytest.raises(NotFoundError, match="there is no database"):
        opened(f"sqlite:///{path}")
    assert list(tmp_path.iterdir()) == []


def test_where_nobody_can_write_reading_makes_no_file(tmp_path, monkeypatch):
    """As root, which may write anywhere, only the answer of the system can say so."""
    path = tmp_path / "kept" / "a.db"
    path.parent.mkdir()
    Database.open_to_write(f"sqlite:///{path}").close()
    kept = sorted(path.parent.iterdir())
    access = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: mode != os.W_OK and access(path, mode))
    database = Database.open_to_read(f"sqlite:///{path}")
    with database.session() as session:
        assert session.execute(text("select count(*) from autosearch_studies")).scalar() == 0
        assert sorted(path.parent.iterdir()) == kept
    database.close()


def test_the_migrations_are_found_under_any_name_of_a_folder(monkeypatch):
    monkeypatch.setattr(database_module, "__file__", "/50% off/store/database.py")
    place = database_module._alembic_config().get_main_option("script_location")
    assert place == str(Path("/50% off/store/migrations"))


@pytest.mark.parametrize("opened", [Database.open_to_read, Database.open_to_write])
def test_what_is_no_database_is_said_in_a_sentence(tmp_path, opened):
    path = tmp_path / "garbage.db"
    path.write_bytes(b"this is no database at all" * 100)
    with pytest.raises(StorageError, match="file is not a database"):
        opened(f"sqlite:///{path}")


def test_a_locked_database_is_said_in_a_sentence_soon(tmp_path, monkeypatch):
    path = tmp_path / "held.db"
    Database.open_to_write(f"sqlite:///{path}").close()
    monkeypatch.setattr("autosearch.store.database._READ_TIMEOUT_S", 0.1)
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as holder:
        holder.execute("PRAGMA journal_mode = DELETE")
        holder.execute("BEGIN EXCLUSIVE")
        with pytest.raises(StorageError, match=r"keeps database .* locked; .*fuser"):
            Database.open_to_read(f"sqlite:///{path}")


def test_a_folder_in_place_of_the_file_is_said_in_a_sentence(tmp_path):
    with pytest.raises(StorageError, match="cannot be used"):
        Database.open_to_write(f"sqlite:///{tmp_path}")


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(StorageError, match=r'the folder ".*nowhere" of the database does not'):
        Database.open_to_write(f"sqlite:///{tmp_path / 'nowhere' / 'x.db'}")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("nonsense://x", "not a database URL"),
        ("mysql://host/name", "not (supported|a database URL)"),
        ("sqlite://", "in memory keeps nothing"),
        ("sqlite:///:memory:", "in memory keeps nothing"),
    ],
)
def test_a_url_that_cannot_serve_is_refused(text, sentence):
    with pytest.raises(StorageError, match=sentence):
        storage_url(text)


def test_the_url_comes_from_the_argument_the_environment_or_here(monkeypatch):
    monkeypatch.delenv("AUTOSEARCH_STORAGE", raising=False)
    assert storage_url() == "sqlite:///autosearch.db"
    monkeypatch.setenv("AUTOSEARCH_STORAGE", "sqlite:///other.db")
    assert storage_url() == "sqlite:///other.db"
    assert storage_url("mine.db") == "sqlite:///mine.db"


def test_a_schema_of_another_version_is_refused_with_what_to_do(tmp_path):
    url = f"sqlite:///{tmp_path / 'other.db'}"
    Database.open_to_write(url)
    for version, advice in (("9999", "a newer version wrote it"), ("0001", "autosearch run STUDY")):
        with sqlite3.connect(tmp_path / "other.db") as connection:
            connection.execute(f"UPDATE {VERSION_TABLE} SET version_num = '{version}'")
        with pytest.raises(StorageError, match=f"has schema {version}, this.*{advice}"):
            Database.open_to_read(url)


def _open(url):
    Database.open_to_write(url)


@pytest.mark.usefixtures("plain_main")
def test_several_processes_make_one_database(tmp_path):
    url = f"sqlite:///{tmp_path / 'shared.db'}"
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=_open, args=(url,)) for _ in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0, 0, 0]
    Database.open_to_read(url)


def test_promotions_of_an_earlier_version_count_as_readings(tmp_path):
    url = f"sqlite:///{tmp_path / 'old.db'}"
    config = Config()
    config.set_main_option("script_location", "autosearch.store:migrations")
    with create_engine(url).begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0001")
        connection.execute(text("insert into autosearch_models values (1, 'm', '2024-01-01')"))
        record = {"study": "s", "candidate": "0-int8", "dataset": {"fingerprint": "f" * 64}}
        connection.execute(
            text(
                "insert into autosearch_promotions (id, model_id, alias, candidate, "
                "artifact_sha256, promoted_at, note, test_metrics, record) values "
                "(1, 1, 'champion', '0-int8', 'a', '2024-01-02 00:00:00', '', '{}', :record)"
            ),
            {"record": json.dumps(record)},
        )
    (reading,) = readings(Database.open_to_write(url), "f" * 64)
    assert (reading.study, reading.what, reading.why) == ("s", "0-int8", "promoted to champion")
    assert reading.read_at.isoformat() == "2024-01-02T00:00:00"
