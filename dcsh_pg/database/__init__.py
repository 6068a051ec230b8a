"""The database: the server's life, what is stored there, and what is asked.

Knows nothing of rasters or torch.  What PostgreSQL runs is in ``dcsh_pg.sql``.
"""
