"""The database: engines for SQLite and PostgreSQL, transactions, tables, migrations and leases.

What only concerns how rows are stored. What the rows mean is in `outbox`, `signals`, `monitoring` and `privacy`.
"""
