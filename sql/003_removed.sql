-- Archives sharded over postgres_fdw, which dcsh-pg 0.1 had.

DO $$
DECLARE
    sharded text;
BEGIN
    SELECT string_agg(c.relname, ', ' ORDER BY c.relname) INTO sharded
    FROM pg_catalog.pg_class c
    WHERE c.relnamespace = pg_catalog.to_regnamespace('dcsh') AND c.relkind = 'p'
        AND EXISTS (SELECT FROM pg_catalog.pg_inherits i
                        JOIN pg_catalog.pg_foreign_table f ON f.ftrelid = i.inhrelid
                    WHERE i.inhparent = c.oid);
    IF sharded IS NOT NULL THEN
        RAISE EXCEPTION 'archives are sharded over postgres_fdw, which this dcsh-pg does not support: %', sharded
            USING ERRCODE = 'object_not_in_prerequisite_state',
                  HINT = 'bring each back with dcsh-pg 0.1, ''dcsh-pg archive unshard ARCHIVE'', and upgrade again; then ''dcsh-pg archive distribute ARCHIVE'' distributes it with Citus';
    END IF;
    DROP VIEW IF EXISTS dcsh._shard_task;
END
$$;
