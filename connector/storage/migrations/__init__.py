"""Alembic migrations of the tables; `connector migrate` applies them."""
