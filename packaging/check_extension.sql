-- Fails unless the index dcsh_hamming is there and exact. For psql -v ON_ERROR_STOP=1.
CREATE EXTENSION dcsh_hamming CASCADE;
SELECT setseed(0.5);
CREATE TABLE chip AS
    SELECT n AS id, (random() * 9e18)::bigint::bit(64) AS code FROM generate_series(1, 20000) n;
CREATE INDEX chip_code ON chip USING hamming (code);
DELETE FROM chip WHERE id % 3 = 0;
ANALYZE chip;
SET enable_seqscan = off;
DO $$
DECLARE
    found record;
BEGIN
    SELECT count(*) AS queries, count(*) FILTER (WHERE by_index = by_comparing) AS exact INTO found
    FROM chip q,
        LATERAL (SELECT array_agg(d) AS by_index FROM (
            SELECT (c.code <~> q.code)::integer AS d FROM chip c ORDER BY c.code <~> q.code LIMIT 20) n) i,
        LATERAL (SELECT array_agg(d) AS by_comparing FROM (
            SELECT bit_count(c.code # q.code)::integer AS d FROM chip c ORDER BY d LIMIT 20) n) s
    WHERE q.id % 997 = 1;
    ASSERT found.queries > 0 AND found.exact = found.queries, 'the index is not exact';
    RAISE NOTICE '% queries, all exact', found.queries;
END
$$;
SELECT 'dcsh_hamming ' || e.extversion || ' in PostgreSQL ' || current_setting('server_version')
FROM pg_extension e WHERE e.extname = 'dcsh_hamming';
