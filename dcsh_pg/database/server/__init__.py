"""The server: connections, the embedded PostgreSQL, the schema, rights, and the index extension."""
