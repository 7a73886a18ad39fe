"""Alembic's migrations of the ``autosearch_`` tables: the only way to the schema."""
