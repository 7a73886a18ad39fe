"""Where trials live: SQLAlchemy tables, migrations, reads as frozen values, artifacts."""
