"""The database: the server, the archives stored in it, and searches of them.

Does not use rasters or torch.  The SQL that PostgreSQL runs is in ``dcsh_pg.sql``.
"""
