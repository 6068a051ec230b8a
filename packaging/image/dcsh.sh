#!/bin/bash
# Makes the schema in the database of a new server; runs once, as the image's entrypoint makes it.
set -e
psql -v ON_ERROR_STOP=1 -U "$POSTGRES_USER" -d "$POSTGRES_DB" -c "CREATE EXTENSION IF NOT EXISTS postgis"
dcsh-pg db upgrade --dsn "host=/var/run/postgresql user=$POSTGRES_USER dbname=$POSTGRES_DB"
