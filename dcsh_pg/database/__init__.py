"""The database: connection, embedded server, migrations, archives (create, load, search).

Knows nothing of rasters or torch.  What PostgreSQL runs is in ``dcsh_pg.sql``.
"""
