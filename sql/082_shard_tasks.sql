-- The work of a shard: what the server of an archive asks the servers of its shards to do.

CREATE OR REPLACE VIEW dcsh._shard_task AS
    SELECT NULL::text AS archive, NULL::text AS task, NULL::jsonb AS argument,
           NULL::bytea AS onnx, NULL::jsonb AS answer
    WHERE false;
COMMENT ON VIEW dcsh._shard_task IS 'A row inserted here by the server that this one is a shard of is a task; it comes back with the answer';
COMMENT ON COLUMN dcsh._shard_task.archive IS 'Archive that the task is about';
COMMENT ON COLUMN dcsh._shard_task.task IS 'Name of the task';
COMMENT ON COLUMN dcsh._shard_task.argument IS 'What the task needs to know';
COMMENT ON COLUMN dcsh._shard_task.onnx IS 'The model, where the task is to make the archive';
COMMENT ON COLUMN dcsh._shard_task.answer IS 'What came of it';

-- Two connections that do not go to one database can lock the same number.
CREATE OR REPLACE FUNCTION dcsh._shard_identity(number bigint) RETURNS jsonb
    LANGUAGE sql VOLATILE
    SET search_path FROM CURRENT
AS $$
    SELECT jsonb_build_object(
        'is_another', pg_try_advisory_xact_lock(number),
        'revision', (SELECT version_num FROM dcsh.alembic_version),
        'footprint', dcsh._footprint_type(),
        'extensions', (
            SELECT jsonb_object_agg(e.extname, e.extnamespace::regnamespace)
            FROM pg_extension e
            WHERE e.extname = 'vector' OR e.extname = 'postgis' AND dcsh._footprint_type() <> 'polygon'))
$$;
COMMENT ON FUNCTION dcsh._shard_identity IS 'What two databases that share an archive must have in common; is_another is false where the number is locked in this one';

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
            NEW.answer := dcsh._shard_identity(NEW.argument::bigint);
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
