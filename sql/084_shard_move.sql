-- Moving an archive to other servers and back.

CREATE OR REPLACE FUNCTION dcsh.create_shard_server(connection jsonb) RETURNS text
    LANGUAGE plpgsql
    SET search_path FROM CURRENT
    SET client_min_messages = warning
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
    number bigint := hashtextextended(gen_random_uuid()::text, 0);
    here jsonb := dcsh._shard_identity(number);
    there jsonb;
    server text;
    differs text;
BEGIN
    FOREACH server IN ARRAY servers LOOP
        there := dcsh._at_shard(server::name, NULL, 'identify', to_jsonb(number));
        IF NOT (there -> 'is_another')::boolean THEN
            RAISE EXCEPTION 'server "%" is the database of another shard, or this very one', server
                USING ERRCODE = 'invalid_parameter_value', HINT = 'every shard needs a database of its own';
        END IF;
        SELECT h.key INTO differs FROM jsonb_each(here) h
            WHERE h.value <> there -> h.key ORDER BY h.key LIMIT 1;
        IF FOUND THEN
            RAISE EXCEPTION 'server "%" cannot hold a shard: its % is %, here it is %',
                    server, differs, there -> differs, here -> differs
                USING ERRCODE = 'feature_not_supported',
                      HINT = 'shards need the same schema (''dcsh-pg db upgrade''), the same kind of footprints, and the extensions in schemas of the same names';
        END IF;
    END LOOP;
END
$$;
COMMENT ON FUNCTION dcsh._check_shard_servers IS 'Passes when foreign servers are databases of their own that can hold shards, or raises an error';

CREATE OR REPLACE FUNCTION dcsh._check_can_move(archive text) RETURNS void
    LANGUAGE plpgsql STABLE
    SET search_path FROM CURRENT
AS $$
DECLARE
    chips regclass := format('dcsh.%I', archive)::regclass;
    kept text;
BEGIN
    SELECT k.what INTO kept
        FROM (VALUES
            ('row security', EXISTS (SELECT FROM pg_class WHERE oid = chips AND relrowsecurity)),
            ('a trigger', EXISTS (SELECT FROM pg_trigger WHERE tgrelid = chips)),
            ('rights on columns', EXISTS (SELECT FROM pg_attribute WHERE attrelid = chips AND attacl IS NOT NULL))
        ) k(what, is_there)
        WHERE k.is_there LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'the table of archive "%" has %, which would be lost', archive, kept
            USING ERRCODE = 'invalid_parameter_value', HINT = 'take it away first';
    END IF;
END
$$;
COMMENT ON FUNCTION dcsh._check_can_move IS 'Passes when the table of an archive has nothing that its successor would not have, or raises an error';

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
    PERFORM dcsh._check_can_move(archive);
    PERFORM dcsh._check_shard_servers(servers);
    PERFORM dcsh._empty_shards(archive);

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
BEGIN
    RETURN CASE WHEN dcsh._is_sharded(archive) THEN 0 ELSE dcsh._drop_all_shards(archive) END;
END
$$;
COMMENT ON FUNCTION dcsh.drop_former_shards IS 'Drops the copies that unshard_archive has left on the shards of an archive; returns their number';

CREATE OR REPLACE FUNCTION dcsh._empty_shards(archive text) RETURNS SETOF name
    LANGUAGE plpgsql
    SET search_path FROM CURRENT
AS $$
DECLARE
    part record;
BEGIN
    FOR part IN SELECT * FROM dcsh._shards(archive) LOOP
        PERFORM dcsh._at_shard(part.server, archive, 'drop');
        EXECUTE format('DROP FOREIGN TABLE %s', part.chips);
        RETURN NEXT part.server;
    END LOOP;
END
$$;
COMMENT ON FUNCTION dcsh._empty_shards IS 'Drops the shards of an archive, here and on their servers; returns the names of these';

CREATE OR REPLACE FUNCTION dcsh._drop_all_shards(archive text) RETURNS bigint
    LANGUAGE plpgsql
    SET search_path FROM CURRENT
    SET client_min_messages = warning
AS $$
DECLARE
    servers name[] := ARRAY(SELECT dcsh._empty_shards(archive));
    idle name;
BEGIN
    FOR idle IN
        SELECT s.srvname FROM pg_foreign_server s
        WHERE s.srvname = ANY (servers) AND s.srvname ~ '^dcsh_\d+$'
            AND NOT EXISTS (SELECT FROM pg_foreign_table t WHERE t.ftserver = s.oid)
    LOOP
        EXECUTE format('DROP SERVER %I CASCADE', idle);
    END LOOP;
    RETURN cardinality(servers);
END
$$;
COMMENT ON FUNCTION dcsh._drop_all_shards IS 'Drops the shards of an archive, and the servers that create_shard_server made for it alone, with their user mappings; returns how many shards';
