SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS vector;
CREATE EXTENSION dcsh_hamming;
RESET client_min_messages;

CREATE FUNCTION code(n integer) RETURNS bit(64) LANGUAGE sql IMMUTABLE
    AS $$ SELECT ('x' || substr(md5((n % 700)::text), 1, 16))::bit(64) # n::bit(64) $$;
CREATE TABLE t (id integer, code bit(64));
INSERT INTO t SELECT n, code(n) FROM generate_series(1, 2000) n;
INSERT INTO t VALUES (0, NULL);
CREATE INDEX t_code ON t USING hamming (code);
SELECT bits, entries, nulls, data_pages, directory_pages FROM hamming_stats('t_code');
SELECT hamming_check('t_code');

-- Searches give the rows that a sequential scan gives, in the same order.
CREATE FUNCTION by_index(query bit, k integer) RETURNS integer[] LANGUAGE sql
    SET enable_seqscan = off
    AS $$ SELECT array_agg(id) FROM (SELECT id FROM t ORDER BY code <~> query LIMIT k) hit $$;
CREATE FUNCTION by_table(query bit, k integer) RETURNS integer[] LANGUAGE sql
    SET enable_indexscan = off
    AS $$ SELECT array_agg(id) FROM (
        SELECT id FROM t ORDER BY code <~> query, ctid LIMIT k) hit $$;
CREATE FUNCTION differences() RETURNS bigint LANGUAGE sql
    AS $$ SELECT count(*) FROM generate_series(1, 30) n
          WHERE by_index(~code(n), 10 * n) IS DISTINCT FROM by_table(~code(n), 10 * n)
              OR by_index(code(n), 5000) IS DISTINCT FROM by_table(code(n), 5000) $$;
SET enable_seqscan = off;
EXPLAIN (COSTS OFF) SELECT id FROM t ORDER BY code <~> repeat('01', 32)::bit(64) LIMIT 10;
EXPLAIN (COSTS OFF) SELECT id FROM t WHERE id < 100 ORDER BY code <~> repeat('01', 32)::bit(64);
RESET enable_seqscan;
SELECT differences();

-- Insertion, deletion, VACUUM, update and REINDEX.
INSERT INTO t SELECT n, code(n) FROM generate_series(2001, 3000) n;
SELECT differences();
DELETE FROM t WHERE id % 3 = 0;
SELECT differences();
VACUUM t;
INSERT INTO t SELECT n, code(n + 5) FROM generate_series(3001, 3500) n;
UPDATE t SET code = ~code WHERE id % 7 = 0;
SELECT differences();
SELECT hamming_check('t_code');
REINDEX INDEX t_code;
SELECT differences();
SELECT next_page, rows > 0 AS has_rows FROM hamming_check_pages('t_code');
SELECT format = supported AS supported FROM hamming_format('t_code');

-- Conditions that other indexes select, and codes connected by steps of few bits.
CREATE INDEX t_id ON t (id);
SELECT array(SELECT id FROM t WHERE ctid = ANY (tids) ORDER BY code <~> code(1), id) =
    array(SELECT id FROM t WHERE id < 500 ORDER BY code <~> code(1), id LIMIT 5) AS same, distances
FROM hamming_nearest('t_code', code(1), 5, NULL, 1000, name 'id', '<(integer,integer)'::regoperator, 500);
SELECT tids, distances
FROM hamming_nearest('t_code', code(1), 5, NULL, 10, name 'id', '<(integer,integer)'::regoperator, 500);
SELECT hamming_connect(ARRAY[B'0011', B'1111', B'1000', B'0111'], 1, 100);

-- Errors.
CREATE INDEX ON t USING hamming (id);
CREATE INDEX ON t USING hamming (code, code);
CREATE INDEX ON t USING hamming (code) WITH (fillfactor = 50);
CREATE TABLE other (wide bit(2000), varying bit varying(64));
CREATE INDEX ON other USING hamming (wide);
CREATE INDEX ON other USING hamming (varying);
CREATE INDEX ON other USING hamming ((varying::bit(64)));
SELECT hamming_check('t_id');
SELECT hamming_skipped('t_code', B'101');
SELECT hamming_check_pages('t_code', sample => 2);
SELECT hamming_nearest('t_code', code(1), 0, NULL, 10, name 'id', '<(integer,integer)'::regoperator, 5);
SELECT hamming_connect(ARRAY[B'10', NULL], 1, 100);

DROP TABLE t, other;
DROP FUNCTION by_index, by_table, differences, code;
DROP EXTENSION dcsh_hamming;
