-- An archive over several PostgreSQL servers: its table is partitioned by hash, each partition a
-- foreign table on another server, where it is an ordinary archive of the same name.  Registry and
-- scenes stay here.
--
-- postgres_fdw commits on the shards first and here last.  So a failure in between can leave chips
-- there that are not known here, which no search finds and the next load removes; and those of scenes
-- that were being replaced or removed can be gone, until the same load or removal is run again.

CREATE OR REPLACE FUNCTION dcsh._is_sharded(archive text) RETURNS boolean
    LANGUAGE sql STABLE
    RETURN EXISTS (SELECT FROM pg_class
                   WHERE oid = to_regclass(format('dcsh.%I', archive)) AND relkind = 'p');
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
CREATE OR REPLACE FUNCTION dcsh._search_on_shards(
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
        first_hits := ARRAY(SELECT h FROM dcsh._search_on_shards(
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
COMMENT ON FUNCTION dcsh._search_on_shards IS 'The search of a sharded archive; k NULL finds all within max_distance';

-- Without the count PostgreSQL would take the least and the greatest for the first and the last of
-- sorted rows, and have every shard sort all of its own, once for each.
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
            HAVING count(*) > 0
        $shard$, s.chips), ' UNION ALL '))
        FROM dcsh._shards(archive) s)
    INTO west, south, east, north;
END
$$;
COMMENT ON FUNCTION dcsh._bounds_of_shards IS 'Bounds of the footprints of a sharded archive in degrees, which the shards tell';
