"""Runs the migrations on the connection that ``Database`` hands over."""

from alembic import context

from autosearch.store.database import VERSION_TABLE
from autosearch.store.tables import TABLE_PREFIX, Base


def _is_ours(obj, name, type_, reflected, compare_to):  # type: ignore[no-untyped-def]
    """Leaves Optuna's tables in the same database alone."""
    if type_ == "table":
        return name.startswith(TABLE_PREFIX) and name != VERSION_TABLE
    return True


context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Base.metadata,
    # Optuna stamps Alembic's default table in the same database.
    version_table=VERSION_TABLE,
    include_object=_is_ours,
    render_as_batch=True,
)
with context.begin_transaction():
    context.run_migrations()
