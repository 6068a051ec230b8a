"""The server: connections, the embedded PostgreSQL, the schema and its rights, the index extension."""
