\echo Use "CREATE EXTENSION dcsh_hamming" to load this file. \quit

CREATE FUNCTION hamming_handler(internal) RETURNS index_am_handler
    LANGUAGE c AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION hamming_handler(internal) IS 'handler of the access method hamming';

CREATE ACCESS METHOD hamming TYPE INDEX HANDLER hamming_handler;
COMMENT ON ACCESS METHOD hamming IS
    'exact search of binary codes in ascending order of Hamming distance';

-- Take the operator from extension vector, not from the search path, where the owner of the database
-- or of this extension's schema could have created one of the same name.
DO $$
DECLARE
    vector_schema text := (
        SELECT n.nspname
        FROM pg_catalog.pg_operator o
            JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) o.oprnamespace
            JOIN pg_catalog.pg_depend d
                ON d.objid OPERATOR(pg_catalog.=) o.oid
                AND d.classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_operator'::pg_catalog.regclass
                AND d.refclassid OPERATOR(pg_catalog.=) 'pg_catalog.pg_extension'::pg_catalog.regclass
                AND d.deptype OPERATOR(pg_catalog.=) 'e'
            JOIN pg_catalog.pg_extension e ON e.oid OPERATOR(pg_catalog.=) d.refobjid
        WHERE e.extname OPERATOR(pg_catalog.=) 'vector'
            AND o.oprname OPERATOR(pg_catalog.=) '<~>'
            AND o.oprleft OPERATOR(pg_catalog.=) 'pg_catalog.bit'::pg_catalog.regtype
            AND o.oprright OPERATOR(pg_catalog.=) 'pg_catalog.bit'::pg_catalog.regtype);
BEGIN
    IF vector_schema IS NULL THEN
        RAISE EXCEPTION 'extension "vector" has no operator <~> (bit, bit)'
            USING ERRCODE = 'undefined_function',
                  HINT = 'Update pgvector to version 0.7.0 or later.';
    END IF;
    EXECUTE pg_catalog.format(
        'CREATE OPERATOR CLASS bit_hamming_ops DEFAULT FOR TYPE pg_catalog.bit USING hamming AS '
        'OPERATOR 1 %I.<~> (pg_catalog.bit, pg_catalog.bit) FOR ORDER BY pg_catalog.float_ops',
        vector_schema);
END
$$;
COMMENT ON OPERATOR CLASS bit_hamming_ops USING hamming IS
    'ORDER BY column <~> code on a bit(8) to bit(1024) column';

CREATE FUNCTION hamming_check(index regclass) RETURNS void
    LANGUAGE c STRICT VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION hamming_check(regclass) IS
    'raises an error if the index is corrupted or does not have exactly one entry for each row of its table';

CREATE FUNCTION hamming_stats(
    index regclass,
    OUT bits integer,
    OUT entries bigint,
    OUT nulls bigint,
    OUT data_pages bigint,
    OUT directory_pages bigint,
    OUT page_capacity integer,
    OUT page_balls integer,
    OUT kernel text
) LANGUAGE c STRICT VOLATILE PARALLEL SAFE AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION hamming_stats(regclass) IS
    'statistics of the index: length of codes, entries (including nulls), pages, entries and balls per page, and the popcount kernel of this processor';

CREATE FUNCTION hamming_skipped(index regclass, code bit) RETURNS double precision
    LANGUAGE c STRICT VOLATILE PARALLEL SAFE AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION hamming_skipped(regclass, bit) IS
    'share of data pages, 0 to 1, that the first pass of a scan for this code skips';
