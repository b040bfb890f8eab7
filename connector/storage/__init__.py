"""The database: engines for SQLite and PostgreSQL, transactions, tables, migrations and leases.

Only the storage of rows. Their meaning is defined in the folders that read and write them, such as `outbox`.
"""
