-- An archive on a Citus cluster: its table is distributed by id. Models, archives and scenes stay
-- local tables of the coordinator.

-- PL/pgSQL plans a query when it runs it first, so the table may be missing.
CREATE OR REPLACE FUNCTION dcsh_private.is_distributed(archive text) RETURNS boolean
    LANGUAGE plpgsql STABLE
    SET search_path FROM CURRENT
AS $$
BEGIN
    IF to_regclass('pg_catalog.pg_dist_partition') IS NULL THEN
        RETURN false;
    END IF;
    RETURN EXISTS (SELECT FROM pg_catalog.pg_dist_partition p
                   WHERE p.logicalrelid = to_regclass(format('dcsh.%I', archive)));
END
$$;
COMMENT ON FUNCTION dcsh_private.is_distributed IS 'Whether an archive is distributed over the workers of a Citus cluster';

-- A query that only reads needs no transaction block on the workers: without one it is one message to each, not
-- three. Not a setting of functions, which only a superuser may give them where Citus is not loaded.
CREATE OR REPLACE FUNCTION dcsh_private.set_worker_blocks(setting text) RETURNS text
    LANGUAGE plpgsql STABLE
    SET search_path FROM CURRENT
AS $$
DECLARE
    former text := current_setting('citus.function_opens_transaction_block', true);
BEGIN
    IF former <> setting THEN
        PERFORM set_config('citus.function_opens_transaction_block', setting, true);
    END IF;
    RETURN former;
END
$$;
COMMENT ON FUNCTION dcsh_private.set_worker_blocks IS 'Set whether Citus opens transaction blocks on workers for queries of functions (on or off); returns the former setting, NULL without Citus';

CREATE OR REPLACE FUNCTION dcsh_private.lock_to_move(archive text) RETURNS void
    LANGUAGE plpgsql
    SET search_path FROM CURRENT
AS $$
DECLARE
    target dcsh.archive := dcsh_private.archive(archive);
BEGIN
    IF to_regclass('pg_catalog.pg_dist_partition') IS NULL THEN
        RAISE EXCEPTION 'this database has no extension "citus"'
            USING ERRCODE = 'feature_not_supported',
                  HINT = 'connect to the coordinator of a Citus cluster, or run CREATE EXTENSION citus as superuser';
    END IF;
    -- Blocks loads: end_load takes the same two locks in this order.
    LOCK TABLE dcsh_private.load_lock IN EXCLUSIVE MODE;
    PERFORM FROM dcsh.archive a WHERE a.id = target.id FOR UPDATE;
END
$$;
COMMENT ON FUNCTION dcsh_private.lock_to_move IS 'Lock an archive against loads while its table is distributed or undistributed; an error without Citus';

-- Between the phases of a commit its chips are not visible on a worker, and a session that deletes or moves
-- chips would skip them. dcsh.scene, which is local, has their number.
CREATE OR REPLACE FUNCTION dcsh_private.check_settled(archive text, scenes bigint[]) RETURNS void
    LANGUAGE plpgsql
    SET search_path FROM CURRENT
AS $$
DECLARE
    visible bigint;
    is_pending boolean;
BEGIN
    IF cardinality(scenes) = 0 OR NOT dcsh_private.is_distributed(archive) THEN
        RETURN;
    END IF;
    EXECUTE format('SELECT count(*) FROM dcsh.%I WHERE scene_id = ANY ($1)', archive)
        INTO visible USING scenes;
    IF visible >= (SELECT coalesce(sum(s.chips), 0) FROM dcsh.scene s WHERE s.id = ANY (scenes)) THEN
        RETURN;
    END IF;
    EXECUTE $query$
        SELECT bool_or(NOT w.success OR w.result <> '0')
        FROM pg_catalog.run_command_on_workers($worker$
            SELECT count(*) FROM pg_prepared_xacts
            WHERE database = current_database() AND gid ^@ 'citus_'
        $worker$) w
    $query$ INTO is_pending;
    IF is_pending THEN
        RAISE EXCEPTION 'a worker has not finished an earlier commit to archive "%"', archive
            USING ERRCODE = 'object_not_in_prerequisite_state',
                  HINT = 'Citus finishes it within a minute, or a superuser with SELECT recover_prepared_transactions(); then rerun the command';
    END IF;
END
$$;
COMMENT ON FUNCTION dcsh_private.check_settled IS 'An error if chips of scenes of a distributed archive are not visible because a worker has prepared their commit and not finished it';

CREATE OR REPLACE FUNCTION dcsh.distribute_archive(archive text, shards integer DEFAULT NULL)
    RETURNS integer
    LANGUAGE plpgsql
    SET search_path FROM CURRENT
    SET client_min_messages = warning
AS $$
DECLARE
    chips text := format('dcsh.%I', archive);
    workers integer;
    made integer;
BEGIN
    PERFORM dcsh_private.lock_to_move(archive);
    IF shards < 1 OR shards > 64000 THEN
        RAISE EXCEPTION 'shards must be from 1 to 64000, not %', shards
            USING ERRCODE = 'invalid_parameter_value', HINT = 'omit it for one shard per worker';
    END IF;
    IF NOT dcsh_private.is_distributed(archive) THEN
        EXECUTE 'SELECT count(*) FROM pg_catalog.pg_dist_node
                 WHERE isactive AND shouldhaveshards AND noderole = ''primary''' INTO workers;
        IF EXISTS (SELECT FROM pg_class
                   WHERE oid = to_regclass(format('dcsh.%I', archive || '_items')) AND relkind = 'v')
        THEN
            RAISE EXCEPTION 'archive "%" has the view dcsh.%, which Citus cannot answer',
                    archive, archive || '_items'
                USING ERRCODE = 'object_not_in_prerequisite_state',
                      HINT = format('SELECT dcsh.drop_pgstac_view(%L) first; dcsh.scenes_in_stac works without it', archive);
        END IF;
        IF workers = 0 THEN
            RAISE EXCEPTION 'this Citus cluster has no worker'
                USING ERRCODE = 'object_not_in_prerequisite_state',
                      HINT = 'add one: SELECT citus_add_node(''host'', 5432)';
        END IF;
        EXECUTE 'SELECT pg_catalog.create_distributed_table($1, ''id'', shard_count => $2, colocate_with => ''none'')'
            USING chips::regclass, coalesce(shards, workers);
        EXECUTE 'SELECT pg_catalog.truncate_local_data_after_distributing_table($1)'
            USING chips::regclass;
    END IF;
    EXECUTE 'SELECT count(*) FROM pg_catalog.pg_dist_shard WHERE logicalrelid = $1'
        INTO made USING chips::regclass;
    IF made <> shards THEN
        RAISE EXCEPTION 'archive "%" is already distributed over % shards', archive, made
            USING ERRCODE = 'object_not_in_prerequisite_state',
                  HINT = format('SELECT dcsh.undistribute_archive(%L) first', archive);
    END IF;
    RETURN made;
END
$$;
COMMENT ON FUNCTION dcsh.distribute_archive IS 'Distribute the chips of an archive over the workers of a Citus cluster, by default one shard per worker; returns the number of shards. Harmless to repeat';

-- Citus recreates the table and its views: comments and the privileges on views are restored here.
CREATE OR REPLACE FUNCTION dcsh.undistribute_archive(archive text) RETURNS boolean
    LANGUAGE plpgsql
    SET search_path FROM CURRENT
    SET client_min_messages = warning
AS $$
DECLARE
    chips text := format('dcsh.%I', archive);
    granted text[];
    statement text;
BEGIN
    PERFORM dcsh_private.lock_to_move(archive);
    IF NOT dcsh_private.is_distributed(archive) THEN
        RETURN false;
    END IF;
    PERFORM dcsh_private.check_settled(archive, ARRAY(
        SELECT s.id FROM dcsh.scene s JOIN dcsh.archive a ON a.id = s.archive_id
        WHERE a.name = archive));
    granted := ARRAY(
        SELECT format('GRANT %s ON %s TO %s%s', g.privilege_type, r.oid::regclass,
                      CASE g.grantee WHEN 0 THEN 'PUBLIC' ELSE g.grantee::regrole::text END,
                      CASE WHEN g.is_grantable THEN ' WITH GRANT OPTION' ELSE '' END)
        FROM pg_class r, aclexplode(r.relacl) g
        WHERE g.grantee <> r.relowner
            AND (r.oid = chips::regclass OR r.oid = to_regclass(format('dcsh.%I', archive || '_layer'))));
    EXECUTE 'SELECT pg_catalog.undistribute_table($1)' USING chips::regclass;
    PERFORM dcsh_private.comment_chips(archive);
    PERFORM dcsh_private.create_layer(archive);
    FOREACH statement IN ARRAY granted LOOP
        EXECUTE statement;
    END LOOP;
    RETURN true;
END
$$;
COMMENT ON FUNCTION dcsh.undistribute_archive IS 'Bring the chips of a distributed archive back to the coordinator; false if it is not distributed';
