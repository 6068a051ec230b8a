-- What dcsh-pg 0.1 made and later versions do not have: archives sharded over postgres_fdw.

DO $$
DECLARE
    sharded text;
    gone regprocedure;
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
    FOR gone IN
        SELECT p.oid FROM pg_catalog.pg_proc p
        WHERE p.pronamespace = pg_catalog.to_regnamespace('dcsh')
            AND (p.proname = '_create_chips' AND p.pronargs = 2 OR p.proname = ANY ('{_is_sharded,_shards,shards,_mend_shards,_nearest_on_shards,
                _search_on_shards,_bounds_of_shards,_shard_identity,_digest,_prepare_shard,
                _do_shard_task,_at_shard,_at_shards,create_shard_server,_lock_for_move,_take_place,
                _check_shard_servers,_check_can_move,_make_room,shard_archive,unshard_archive,
                drop_former_shards,_empty_shards,_drop_all_shards}'))
    LOOP
        EXECUTE pg_catalog.format('DROP FUNCTION %s', gone);
    END LOOP;
END
$$;
