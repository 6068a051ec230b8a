-- An archive over several PostgreSQL servers: its table is partitioned by hash, each partition a
-- foreign table on another server, where it is an ordinary archive of the same name.  Registry and
-- scenes stay here.
--
-- postgres_fdw commits on the shards first and here last.  So a failure in between can leave rows
-- there that nobody here knows of, and nothing that is known here is ever missing there; the
-- functions below are written so that such rows are not found and make way for the next ones.

CREATE OR REPLACE FUNCTION dcsh._is_sharded(archive text) RETURNS boolean
    LANGUAGE sql STABLE
    SET search_path FROM CURRENT
AS $$
    SELECT EXISTS (SELECT FROM pg_class
                   WHERE oid = to_regclass(format('dcsh.%I', archive)) AND relkind = 'p')
$$;
COMMENT ON FUNCTION dcsh._is_sharded IS 'Whether an archive lies on several servers';

-- No archive can have a name with $ in it.
CREATE OR REPLACE FUNCTION dcsh._shards(archive text)
    RETURNS TABLE (shard integer, chips text, server name)
    LANGUAGE sql STABLE
    SET search_path FROM CURRENT
AS $$
    SELECT split_part(c.relname, '$', 2)::integer, format('dcsh.%I', c.relname), s.srvname
    FROM pg_class c
        JOIN pg_foreign_table t ON t.ftrelid = c.oid
        JOIN pg_foreign_server s ON s.oid = t.ftserver
    WHERE c.relnamespace = 'dcsh'::regnamespace AND c.relname ~ ('^' || archive || '\$\d+$')
    ORDER BY 1
$$;
COMMENT ON FUNCTION dcsh._shards IS 'The shards of an archive, or those that unshard_archive has left: foreign tables and their servers';

CREATE OR REPLACE FUNCTION dcsh.shards(archive text)
    RETURNS TABLE (shard integer, server text, host text, port integer, dbname text, chips bigint)
    LANGUAGE plpgsql STABLE
    SET search_path FROM CURRENT
AS $$
DECLARE
    target dcsh.archive := dcsh._archive(archive);
    part record;
BEGIN
    FOR part IN SELECT * FROM dcsh._shards(archive) WHERE dcsh._is_sharded(archive) LOOP
        SELECT part.shard, part.server, max(o.option_value) FILTER (WHERE o.option_name = 'host'),
               max(o.option_value) FILTER (WHERE o.option_name = 'port'),
               max(o.option_value) FILTER (WHERE o.option_name = 'dbname')
            INTO shard, server, host, port, dbname
            FROM pg_foreign_server s, pg_options_to_table(s.srvoptions) o
            WHERE s.srvname = part.server;
        EXECUTE format('SELECT count(*) FROM %s', part.chips) INTO chips;
        RETURN NEXT;
    END LOOP;
END
$$;
COMMENT ON FUNCTION dcsh.shards IS 'The servers that an archive lies on, with the number of its chips there; no rows for one that lies here';

-- The work of a shard: what the other server is asked to do.

CREATE OR REPLACE VIEW dcsh._shard_task AS
    SELECT NULL::text AS archive, NULL::text AS task, NULL::jsonb AS argument,
           NULL::bytea AS onnx, NULL::jsonb AS answer
    WHERE false;
COMMENT ON VIEW dcsh._shard_task IS 'A row inserted here by the server that this one is a shard of is a task; it comes back with the answer';

CREATE OR REPLACE FUNCTION dcsh._identity() RETURNS jsonb
    LANGUAGE sql STABLE
    SET search_path FROM CURRENT
AS $$
    SELECT jsonb_build_object(
        'system', (SELECT system_identifier::text FROM pg_control_system()),
        'database', (SELECT oid::bigint FROM pg_database WHERE datname = current_database()),
        'revision', (SELECT version_num FROM dcsh.alembic_version),
        'footprint', dcsh._footprint_type(),
        'extensions', (
            SELECT jsonb_object_agg(e.extname, e.extnamespace::regnamespace)
            FROM pg_extension e
            WHERE e.extname = 'vector' OR e.extname = 'postgis' AND dcsh._footprint_type() <> 'polygon'))
$$;
COMMENT ON FUNCTION dcsh._identity IS 'Which database this is, and what two that share an archive must have in common';

-- Text of rows: the same on every server that has the same rows, whatever its settings.
CREATE OR REPLACE FUNCTION dcsh._digest(chips regclass, condition text DEFAULT 'true') RETURNS jsonb
    LANGUAGE plpgsql STABLE
    SET search_path FROM CURRENT
    SET TimeZone = 'UTC'
    SET DateStyle = 'ISO'
    SET extra_float_digits = 3
AS $$
DECLARE
    digest jsonb;
BEGIN
    EXECUTE format($query$
        SELECT jsonb_build_object('chips', count(*), 'sum', sum(hashtextextended(c::text, 0)))
        FROM %s c WHERE %s
    $query$, chips, condition) INTO digest;
    RETURN digest;
END
$$;
COMMENT ON FUNCTION dcsh._digest IS 'Number and checksum of the rows of an archive, in any order';

CREATE OR REPLACE FUNCTION dcsh._prepare_shard(archive text, argument jsonb, onnx bytea)
    RETURNS jsonb
    LANGUAGE plpgsql
    SET search_path FROM CURRENT
AS $$
DECLARE
    wanted text := argument #>> '{model,sha256}';
    present dcsh.archive;
    chips bigint;
BEGIN
    IF NOT EXISTS (SELECT FROM dcsh.model m WHERE m.sha256 = wanted) THEN
        IF onnx IS NULL THEN
            RETURN jsonb_build_object('lacks', 'model');
        END IF;
        INSERT INTO dcsh.model (sha256, name, method, bits, bands, card, onnx)
            SELECT m.sha256, m.name, m.method, m.bits, m.bands, m.card, _prepare_shard.onnx
            FROM jsonb_populate_record(NULL::dcsh.model, argument -> 'model') m;
    END IF;
    SELECT a.* INTO present FROM dcsh.archive a WHERE a.name = archive;
    IF NOT FOUND THEN
        PERFORM dcsh.create_archive(archive, wanted, argument -> 'reading');
    ELSIF present.reading <> argument -> 'reading'
        OR EXISTS (SELECT FROM dcsh.scene s WHERE s.archive_id = present.id)
        OR wanted <> (SELECT m.sha256 FROM dcsh.model m WHERE m.id = present.model_id)
    THEN
        RETURN jsonb_build_object('lacks', 'room');
    END IF;
    EXECUTE format('SELECT count(*) FROM dcsh.%I', archive) INTO chips;
    RETURN jsonb_build_object('chips', chips);
END
$$;
COMMENT ON FUNCTION dcsh._prepare_shard IS 'Makes the archive that holds a shard, if it is not there';

CREATE OR REPLACE FUNCTION dcsh._do_shard_task() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path FROM CURRENT
AS $$
BEGIN
    CASE NEW.task
        WHEN 'identify' THEN
            NEW.answer := dcsh._identity();
        WHEN 'prepare' THEN
            NEW.answer := dcsh._prepare_shard(NEW.archive, NEW.argument, NEW.onnx);
        WHEN 'clear' THEN
            EXECUTE format('TRUNCATE dcsh.%I', NEW.archive);
        WHEN 'digest' THEN
            NEW.answer := dcsh._digest(format('dcsh.%I', NEW.archive)::regclass);
        WHEN 'settle' THEN
            EXECUTE format('ANALYZE dcsh.%I', NEW.archive);
            IF dcsh._has_hamming() THEN
                PERFORM dcsh.create_code_index(NEW.archive);
            END IF;
        WHEN 'create_code_index' THEN
            NEW.answer := to_jsonb(dcsh.create_code_index(NEW.archive)::text);
        WHEN 'drop_code_index' THEN
            NEW.answer := to_jsonb(dcsh.drop_code_index(NEW.archive));
        WHEN 'drop' THEN
            IF EXISTS (SELECT FROM dcsh.archive a WHERE a.name = NEW.archive) THEN
                PERFORM dcsh.drop_archive(NEW.archive);
            END IF;
    END CASE;
    RETURN NEW;
END
$$;
COMMENT ON FUNCTION dcsh._do_shard_task IS 'Does what a row of dcsh._shard_task asks for';

CREATE OR REPLACE TRIGGER do_shard_task INSTEAD OF INSERT ON dcsh._shard_task
    FOR EACH ROW EXECUTE FUNCTION dcsh._do_shard_task();

-- The foreign table is a door for the time of the call; its name is this session's alone.
CREATE OR REPLACE FUNCTION dcsh._at_shard(
    server name, archive text, task text, argument jsonb DEFAULT NULL, onnx bytea DEFAULT NULL
) RETURNS jsonb
    LANGUAGE plpgsql
    SET search_path FROM CURRENT
AS $$
DECLARE
    door text := format('$%s', pg_backend_pid());
    answer jsonb;
BEGIN
    EXECUTE format($ddl$
        CREATE FOREIGN TABLE dcsh.%I (
            archive text, task text, argument jsonb, onnx bytea, answer jsonb
        ) SERVER %I OPTIONS (schema_name 'dcsh', table_name '_shard_task')
    $ddl$, door, server);
    EXECUTE format($dml$
        INSERT INTO dcsh.%I (archive, task, argument, onnx) VALUES ($1, $2, $3, $4) RETURNING answer
    $dml$, door) INTO answer USING archive, task, argument, onnx;
    EXECUTE format('DROP FOREIGN TABLE dcsh.%I', door);
    RETURN answer;
END
$$;
COMMENT ON FUNCTION dcsh._at_shard IS 'Has another server do a task for an archive, in the transaction of this one; returns its answer';

CREATE OR REPLACE FUNCTION dcsh._at_shards(archive text, task text) RETURNS SETOF jsonb
    LANGUAGE plpgsql
    SET search_path FROM CURRENT
AS $$
DECLARE
    part record;
BEGIN
    FOR part IN SELECT * FROM dcsh._shards(archive) LOOP
        RETURN NEXT dcsh._at_shard(part.server, archive, task);
    END LOOP;
END
$$;
COMMENT ON FUNCTION dcsh._at_shards IS 'Has every server that an archive lies on do a task; returns their answers';

-- Servers

CREATE OR REPLACE FUNCTION dcsh.create_shard_server(connection jsonb) RETURNS text
    LANGUAGE plpgsql
    SET search_path FROM CURRENT
AS $$
DECLARE
    of_user CONSTANT text[] := ARRAY['user', 'password', 'sslcert', 'sslkey', 'sslpassword'];
    server name;
BEGIN
    IF NOT EXISTS (SELECT FROM pg_available_extensions WHERE name = 'postgres_fdw') THEN
        RAISE EXCEPTION 'this server has no postgres_fdw'
            USING ERRCODE = 'feature_not_supported',
                  HINT = 'it is among the contrib modules of PostgreSQL; the embedded server is without them';
    END IF;
    IF NOT EXISTS (SELECT FROM pg_extension WHERE extname = 'postgres_fdw') THEN
        CREATE EXTENSION postgres_fdw;
    END IF;
    SELECT s.srvname INTO server
        FROM pg_foreign_server s JOIN pg_foreign_data_wrapper w ON w.oid = s.srvfdw
        WHERE w.fdwname = 'postgres_fdw'
            AND s.srvoptions @> ARRAY(
                SELECT format('%s=%s', c.key, c.value) FROM jsonb_each_text(connection) c
                WHERE c.key IN ('host', 'port', 'dbname'))
        ORDER BY s.oid LIMIT 1;
    IF server IS NULL THEN
        server := 'dcsh_' || 1 + coalesce(
            (SELECT max(substr(s.srvname, 6)::integer) FROM pg_foreign_server s
             WHERE s.srvname ~ '^dcsh_\d{1,9}$'), 0);
        -- A row that need not travel is worth some work there: before PostgreSQL 17 the default is 0.01.
        EXECUTE format($ddl$
            CREATE SERVER %I FOREIGN DATA WRAPPER postgres_fdw OPTIONS (
                extensions %L, async_capable 'true', fetch_size '1000', batch_size '1000',
                fdw_tuple_cost '0.2', %s %s)
        $ddl$, server,
            CASE dcsh._footprint_type() WHEN 'polygon' THEN 'vector' ELSE 'vector, postgis' END,
            CASE WHEN current_setting('server_version_num')::integer >= 150000
                 THEN 'parallel_commit ''true'',' END,
            (SELECT string_agg(format('%I %L', c.key, c.value), ', ')
             FROM jsonb_each_text(connection) c WHERE c.key <> ALL (of_user)));
    END IF;
    EXECUTE format('DROP USER MAPPING IF EXISTS FOR CURRENT_USER SERVER %I', server);
    EXECUTE format('CREATE USER MAPPING FOR CURRENT_USER SERVER %I OPTIONS (%s)', server,
        (SELECT string_agg(format('%I %L', c.key, c.value), ', ')
         FROM jsonb_each_text(connection) c WHERE c.key = ANY (of_user)));
    RETURN server;
EXCEPTION WHEN insufficient_privilege THEN
    RAISE EXCEPTION '%', SQLERRM
        USING ERRCODE = 'insufficient_privilege',
              HINT = format('once, as administrator of the database: CREATE EXTENSION IF NOT EXISTS postgres_fdw; GRANT USAGE ON FOREIGN DATA WRAPPER postgres_fdw TO %I', current_user);
END
$$;
COMMENT ON FUNCTION dcsh.create_shard_server IS 'Makes the foreign server for shards at a connection (keywords of libpq: host, port, dbname, user, password, ...) or finds it, and maps the current user to the user there; returns its name';

CREATE OR REPLACE FUNCTION dcsh._drop_idle_servers() RETURNS void
    LANGUAGE plpgsql
    SET search_path FROM CURRENT
    SET client_min_messages = warning
AS $$
DECLARE
    server name;
BEGIN
    FOR server IN
        SELECT s.srvname FROM pg_foreign_server s
        WHERE s.srvname ~ '^dcsh_\d+$' AND pg_has_role(s.srvowner, 'USAGE')
            AND NOT EXISTS (SELECT FROM pg_foreign_table t WHERE t.ftserver = s.oid)
        ORDER BY s.srvname
    LOOP
        EXECUTE format('DROP SERVER %I CASCADE', server);
    END LOOP;
END
$$;
COMMENT ON FUNCTION dcsh._drop_idle_servers IS 'Drops the foreign servers that create_shard_server made and no archive lies on any more, with their user mappings';

-- Moving an archive

CREATE OR REPLACE FUNCTION dcsh._lock_for_move(archive text) RETURNS dcsh.archive
    LANGUAGE plpgsql
    SET search_path FROM CURRENT
AS $$
DECLARE
    target dcsh.archive := dcsh._archive(archive);
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended('dcsh.scene', 0));
    PERFORM FROM dcsh.archive a WHERE a.id = target.id FOR UPDATE;
    EXECUTE format('LOCK TABLE dcsh.%I IN SHARE MODE', archive);
    RETURN target;
END
$$;
COMMENT ON FUNCTION dcsh._lock_for_move IS 'Keeps loads of an archive waiting until the end of the transaction; searches go on';

-- Views keep their rights, their comments and what depends on them.
CREATE OR REPLACE FUNCTION dcsh._take_place(former regclass, successor regclass) RETURNS void
    LANGUAGE plpgsql
    SET search_path FROM CURRENT
AS $$
DECLARE
    name name := (SELECT relname FROM pg_class WHERE oid = former);
    views text[] := ARRAY(
        SELECT DISTINCT format('CREATE OR REPLACE VIEW %I.%I%s AS %s', n.nspname, v.relname,
                               ' WITH (' || array_to_string(v.reloptions, ', ') || ')',
                               pg_get_viewdef(v.oid))
        FROM pg_depend d
            JOIN pg_rewrite r ON d.classid = 'pg_rewrite'::regclass AND r.oid = d.objid
            JOIN pg_class v ON v.oid = r.ev_class AND v.relkind = 'v'
            JOIN pg_namespace n ON n.oid = v.relnamespace
        WHERE d.refclassid = 'pg_class'::regclass AND d.refobjid = former);
    statement text;
BEGIN
    FOR statement IN
        SELECT format('GRANT %s ON %s TO %s%s', acl.privilege_type, taker.oid::regclass,
                      CASE acl.grantee WHEN 0 THEN 'PUBLIC' ELSE acl.grantee::regrole::text END,
                      CASE WHEN acl.is_grantable THEN ' WITH GRANT OPTION' END)
        FROM pg_class c, aclexplode(c.relacl) acl,
            (SELECT successor AS oid
             UNION ALL SELECT inhrelid FROM pg_inherits WHERE inhparent = successor) taker
        WHERE c.oid = former AND acl.grantee <> c.relowner
    LOOP
        EXECUTE statement;
    END LOOP;
    EXECUTE format('COMMENT ON TABLE %s IS %L', successor, obj_description(former, 'pg_class'));
    EXECUTE format('ALTER TABLE %s RENAME TO %I', former, name || '$former');
    EXECUTE format('ALTER TABLE %s RENAME TO %I', successor, name);
    FOREACH statement IN ARRAY views LOOP
        EXECUTE statement;
    END LOOP;
    EXECUTE format('DROP TABLE %s', former);
    FOR statement IN
        SELECT format('ALTER INDEX %s RENAME TO %I', i.indexrelid::regclass,
                      replace(x.relname, '$successor', ''))
        FROM pg_index i JOIN pg_class x ON x.oid = i.indexrelid WHERE i.indrelid = successor
    LOOP
        EXECUTE statement;
    END LOOP;
END
$$;
COMMENT ON FUNCTION dcsh._take_place IS 'Puts another table in the place of one, which is dropped: under its name, with its comment and rights, and below its views';

CREATE OR REPLACE FUNCTION dcsh._check_shard_servers(servers text[]) RETURNS void
    LANGUAGE plpgsql
    SET search_path FROM CURRENT
AS $$
DECLARE
    here jsonb := dcsh._identity();
    there jsonb;
    seen jsonb[] := ARRAY[here];
    server text;
    differs text;
BEGIN
    FOREACH server IN ARRAY servers LOOP
        there := dcsh._at_shard(server::name, NULL, 'identify');
        IF EXISTS (SELECT FROM unnest(seen) s WHERE s @> (there - 'extensions' - 'footprint' - 'revision')) THEN
            RAISE EXCEPTION 'server "%" is the database of another shard, or this very one', server
                USING ERRCODE = 'invalid_parameter_value', HINT = 'every shard needs a database of its own';
        END IF;
        SELECT k INTO differs FROM unnest(ARRAY['revision', 'footprint', 'extensions']) k
            WHERE here -> k <> there -> k;
        IF FOUND THEN
            RAISE EXCEPTION 'server "%" cannot hold a shard: its % is %, here it is %',
                    server, differs, there -> differs, here -> differs
                USING ERRCODE = 'feature_not_supported',
                      HINT = 'shards need the same schema (''dcsh-pg db upgrade''), the same kind of footprints and the extensions in schemas of the same names';
        END IF;
        seen := seen || there;
    END LOOP;
END
$$;
COMMENT ON FUNCTION dcsh._check_shard_servers IS 'Passes when foreign servers are databases of their own that can hold shards, or raises an error';

-- Rows that another run left on a shard are all here too, or they are not ours to remove.
CREATE OR REPLACE FUNCTION dcsh._make_room(archive text, chips text, server name) RETURNS void
    LANGUAGE plpgsql
    SET search_path FROM CURRENT
AS $$
DECLARE
    argument jsonb := (
        SELECT jsonb_build_object('model', to_jsonb(m) - 'onnx', 'reading', a.reading)
        FROM dcsh.archive a JOIN dcsh.model m ON m.id = a.model_id WHERE a.name = archive);
    answer jsonb := dcsh._at_shard(server, archive, 'prepare', argument);
    foreign_rows boolean := false;
BEGIN
    IF answer ->> 'lacks' = 'model' THEN
        answer := dcsh._at_shard(server, archive, 'prepare', argument, (
            SELECT m.onnx FROM dcsh.archive a JOIN dcsh.model m ON m.id = a.model_id
            WHERE a.name = archive));
    END IF;
    IF (answer ->> 'chips')::bigint > 0 THEN
        EXECUTE format($query$
            SELECT EXISTS (SELECT FROM %s f LEFT JOIN dcsh.%I c ON c.id = f.id
                           WHERE c.id IS NULL OR c::text <> f::text)
        $query$, chips, archive) INTO foreign_rows;
    END IF;
    IF foreign_rows OR answer ->> 'lacks' = 'room' THEN
        RAISE EXCEPTION 'server "%" has an archive "%" of its own', server, archive
            USING ERRCODE = 'duplicate_table',
                  HINT = format('drop it there or choose another database: dcsh-pg archive drop %s --dsn ...', archive);
    END IF;
    PERFORM dcsh._at_shard(server, archive, 'clear');
END
$$;
COMMENT ON FUNCTION dcsh._make_room IS 'Makes the empty archive on another server that becomes a shard of one here';

CREATE OR REPLACE FUNCTION dcsh.shard_archive(
    archive text, servers text[], by text DEFAULT 'scene'
) RETURNS bigint
    LANGUAGE plpgsql
    SET search_path FROM CURRENT
    SET client_min_messages = warning
AS $$
DECLARE
    target dcsh.archive;
    former regclass := to_regclass(format('dcsh.%I', archive));
    successor text := format('dcsh.%I', archive || '$successor');
    key text := CASE by WHEN 'scene' THEN 'scene_id' WHEN 'chip' THEN 'id' END;
    modulus integer := cardinality(servers);
    part record;
    moved bigint;
BEGIN
    target := dcsh._lock_for_move(archive);
    IF key IS NULL OR NOT modulus > 0 OR (SELECT count(DISTINCT s) FROM unnest(servers) s) <> modulus THEN
        RAISE EXCEPTION 'an archive is sharded by scene or by chip, over servers of different names'
            USING ERRCODE = 'invalid_parameter_value',
                  HINT = 'dcsh.create_shard_server makes a server and tells its name';
    END IF;
    IF dcsh._is_sharded(archive) THEN
        IF servers = ARRAY(SELECT s.server::text FROM dcsh._shards(archive) s)
            AND pg_get_partkeydef(former) = format('HASH (%s)', key)
        THEN
            RETURN 0;
        END IF;
        RAISE EXCEPTION 'archive "%" lies on other servers or in another order already', archive
            USING ERRCODE = 'duplicate_table',
                  HINT = format('bring it back first: dcsh-pg archive unshard %s', archive);
    END IF;
    PERFORM dcsh._check_shard_servers(servers);
    PERFORM dcsh.drop_former_shards(archive);

    EXECUTE format('CREATE TABLE %s (LIKE %s INCLUDING COMMENTS) PARTITION BY HASH (%I)',
                   successor, former, key);
    FOR n IN 1 .. modulus LOOP
        EXECUTE format($ddl$
            CREATE FOREIGN TABLE dcsh.%1$I PARTITION OF %2$s
                FOR VALUES WITH (MODULUS %3$s, REMAINDER %4$s)
                SERVER %5$I OPTIONS (schema_name 'dcsh', table_name %6$L);
            COMMENT ON FOREIGN TABLE dcsh.%1$I IS %7$L
        $ddl$, format('%s$%s', archive, n), successor, modulus, n - 1, servers[n], archive,
            format('Shard %s of %s of archive %s', n, modulus, archive));
    END LOOP;
    FOR part IN SELECT * FROM dcsh._shards(archive) LOOP
        PERFORM dcsh._make_room(archive, part.chips, part.server);
    END LOOP;
    EXECUTE format('INSERT INTO %s SELECT * FROM %s ORDER BY id', successor, former);
    GET DIAGNOSTICS moved = ROW_COUNT;
    FOR part IN SELECT * FROM dcsh._shards(archive) LOOP
        IF dcsh._at_shard(part.server, archive, 'digest') IS DISTINCT FROM dcsh._digest(former,
            format('satisfies_hash_partition(%L::regclass, %s, %s, c.%I)',
                   successor, modulus, part.shard - 1, key))
        THEN
            RAISE EXCEPTION 'server "%" holds other rows than it was sent', part.server
                USING ERRCODE = 'data_corrupted';
        END IF;
        PERFORM dcsh._at_shard(part.server, archive, 'settle');
    END LOOP;
    PERFORM dcsh._take_place(former, successor::regclass);
    EXECUTE format('ANALYZE dcsh.%I', archive);
    RETURN moved;
END
$$;
COMMENT ON FUNCTION dcsh.shard_archive IS 'Moves the chips of an archive to foreign servers, each scene as a whole or chip by chip; returns how many; all in one transaction';

CREATE OR REPLACE FUNCTION dcsh.unshard_archive(archive text) RETURNS bigint
    LANGUAGE plpgsql
    SET search_path FROM CURRENT
    SET client_min_messages = warning
AS $$
DECLARE
    target dcsh.archive := dcsh._lock_for_move(archive);
    former regclass := format('dcsh.%I', archive)::regclass;
    successor text := format('dcsh.%I', archive || '$successor');
    part record;
    moved bigint;
BEGIN
    IF NOT dcsh._is_sharded(archive) THEN
        RETURN 0;
    END IF;
    PERFORM dcsh._mend_shards(archive);
    PERFORM dcsh._create_chips(archive, archive || '$successor');
    EXECUTE format('INSERT INTO %s SELECT * FROM %s ORDER BY id', successor, former);
    GET DIAGNOSTICS moved = ROW_COUNT;
    FOR part IN SELECT * FROM dcsh._shards(archive) LOOP
        IF dcsh._at_shard(part.server, archive, 'digest')
            IS DISTINCT FROM dcsh._digest(successor, pg_get_partition_constraintdef(part.chips::regclass))
        THEN
            RAISE EXCEPTION 'server "%" holds other rows than it sent', part.server
                USING ERRCODE = 'data_corrupted';
        END IF;
    END LOOP;
    FOR part IN SELECT * FROM dcsh._shards(archive) LOOP
        EXECUTE format('ALTER TABLE %s DETACH PARTITION %s', former, part.chips);
    END LOOP;
    PERFORM dcsh._take_place(former, successor::regclass);
    EXECUTE format('ANALYZE dcsh.%I', archive);
    IF dcsh._has_hamming() THEN
        PERFORM dcsh.create_code_index(archive);
    END IF;
    RETURN moved;
END
$$;
COMMENT ON FUNCTION dcsh.unshard_archive IS 'Brings the chips of an archive back from its shards, which keep their copies until drop_former_shards; returns how many';

CREATE OR REPLACE FUNCTION dcsh.drop_former_shards(archive text) RETURNS bigint
    LANGUAGE plpgsql
    SET search_path FROM CURRENT
AS $$
DECLARE
    target dcsh.archive := dcsh._archive(archive);
    shards bigint := 0;
BEGIN
    IF NOT dcsh._is_sharded(archive) THEN
        SELECT count(*) INTO shards FROM dcsh._shards(archive);
        PERFORM dcsh._drop_shards(archive);
    END IF;
    RETURN shards;
END
$$;
COMMENT ON FUNCTION dcsh.drop_former_shards IS 'Drops the copies that unshard_archive has left on the shards of an archive; returns their number';

CREATE OR REPLACE FUNCTION dcsh._drop_shards(archive text) RETURNS void
    LANGUAGE plpgsql
    SET search_path FROM CURRENT
AS $$
DECLARE
    part record;
BEGIN
    FOR part IN SELECT * FROM dcsh._shards(archive) LOOP
        PERFORM dcsh._at_shard(part.server, archive, 'drop');
        EXECUTE format('DROP FOREIGN TABLE %s', part.chips);
    END LOOP;
    IF FOUND THEN
        PERFORM dcsh._drop_idle_servers();
    END IF;
END
$$;
COMMENT ON FUNCTION dcsh._drop_shards IS 'Drops the shards of an archive, here and on their servers';

CREATE OR REPLACE FUNCTION dcsh._mend_shards(archive text) RETURNS void
    LANGUAGE plpgsql
    SET search_path FROM CURRENT
AS $$
DECLARE
    target dcsh.archive := dcsh._archive(archive);
BEGIN
    IF dcsh._is_sharded(archive) THEN
        EXECUTE format('DELETE FROM dcsh.%I WHERE id > $1', archive) USING target.last_chip_id;
    END IF;
END
$$;
COMMENT ON FUNCTION dcsh._mend_shards IS 'Removes chips that shards have committed and this server has not, which has not given out their ids';

-- Search

-- One query a shard, which postgres_fdw sends as a whole, order and limit included: so k rows come
-- from each.  All shards work at the same time, for two reasons.  The rows that come are sorted by
-- another expression than there, because PostgreSQL would merge sorted ones, and wait for one shard
-- after the other.  And the columns stand in the order in which they are asked for, all of them,
-- because a subquery that had to arrange them could not be waited for beside others.
-- Chips with ids that are not given out yet are of a load that is not committed here.
CREATE OR REPLACE FUNCTION dcsh._nearest_on_shards(archive text, conditions text, nearest boolean)
    RETURNS text
    LANGUAGE sql STABLE
    SET search_path FROM CURRENT
AS $$
    SELECT format($query$
        SELECT n.id, n.distance, n.scene_id, n.col_off, n.row_off, n.width, n.height, n.geom,
               n.acquired, n.valid_fraction
        FROM (SELECT s.id, s.scene_id, s.col_off, s.row_off, s.width, s.height, s.geom, s.acquired,
                     s.valid_fraction, s.bits::integer AS distance
              FROM (%s) s
              ORDER BY s.bits::integer, s.id LIMIT $3) n
        WHERE $6 IS NULL OR n.distance <= $6
        ORDER BY n.distance, n.id
    $query$, string_agg(format($shard$
            (SELECT c.id, c.scene_id, c.col_off, c.row_off, c.width, c.height, c.geom, c.acquired,
                    c.valid_fraction, c.code <~> $2 AS bits
             FROM %s c WHERE %s AND c.id <= %s %s)
        $shard$, s.chips, conditions, a.last_chip_id,
            CASE WHEN nearest THEN 'ORDER BY c.code <~> $2, c.id LIMIT $3'
                 ELSE 'AND c.code <~> $2 <= $6' END), ' UNION ALL ' ORDER BY s.shard))
    FROM dcsh._shards(archive) s, dcsh.archive a
    WHERE a.name = archive
$$;
COMMENT ON FUNCTION dcsh._nearest_on_shards IS 'The query for the chips of a sharded archive nearest to a code, or within a distance of it, under conditions';

-- Where few rows are expected PostgreSQL would fetch them all and sort them here, shard after shard.
-- All chips within a distance are first looked for among the nearest, which an index can tell: if not
-- all of these are within it, there are no others.
CREATE OR REPLACE FUNCTION dcsh._search_shards(
    archive text, conditions text, place dcsh.area, code bit, k integer, since timestamptz,
    until timestamptz, max_distance integer, other_than bigint
) RETURNS SETOF dcsh.hit
    LANGUAGE plpgsql STABLE
    SET search_path FROM CURRENT
    SET enable_sort = off
    SET enable_incremental_sort = off
    SET jit = off
AS $$
DECLARE
    first_hits dcsh.hit[];
BEGIN
    IF k IS NULL THEN
        first_hits := ARRAY(SELECT h FROM dcsh._search_shards(
            archive, conditions, place, code, 200, since, until, max_distance, other_than) h);
        IF cardinality(first_hits) < 200 THEN
            RETURN QUERY SELECT * FROM unnest(first_hits);
            RETURN;
        END IF;
    END IF;
    RETURN QUERY EXECUTE dcsh._nearest_on_shards(archive, conditions, k IS NOT NULL)
        USING place, code, k, since, until, max_distance, other_than;
END
$$;
COMMENT ON FUNCTION dcsh._search_shards IS 'The search of a sharded archive; k NULL finds all within max_distance';

CREATE OR REPLACE FUNCTION dcsh._bounds_of_shards(
    archive text, OUT west double precision, OUT south double precision,
    OUT east double precision, OUT north double precision
)
    LANGUAGE plpgsql STABLE
    SET search_path FROM CURRENT
AS $$
BEGIN
    EXECUTE (
        SELECT format('SELECT min(s.w), min(s.s), max(s.e), max(s.n) FROM (%s) s', string_agg(format($shard$
            SELECT min((dcsh._bounds(c.geom))[1]) AS w, min((dcsh._bounds(c.geom))[2]) AS s,
                   max((dcsh._bounds(c.geom))[3]) AS e, max((dcsh._bounds(c.geom))[4]) AS n
            FROM %s c
        $shard$, s.chips), ' UNION ALL '))
        FROM dcsh._shards(archive) s)
    INTO west, south, east, north;
END
$$;
COMMENT ON FUNCTION dcsh._bounds_of_shards IS 'Bounds of the footprints of a sharded archive in degrees, which the shards tell';
