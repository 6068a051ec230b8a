\echo Use "CREATE EXTENSION dcsh_hamming" to load this file. \quit

-- The operator <~> is pgvector's: its schema is on the search path while this script runs,
-- because the control file requires it.

CREATE FUNCTION hamming_handler(internal) RETURNS index_am_handler
    LANGUAGE c AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION hamming_handler(internal) IS 'handler of the access method hamming';

CREATE ACCESS METHOD hamming TYPE INDEX HANDLER hamming_handler;
COMMENT ON ACCESS METHOD hamming IS
    'packed binary codes, scanned exactly in ascending Hamming distance';

CREATE OPERATOR CLASS bit_hamming_ops DEFAULT FOR TYPE bit USING hamming AS
    OPERATOR 1 <~> (bit, bit) FOR ORDER BY float_ops;
COMMENT ON OPERATOR CLASS bit_hamming_ops USING hamming IS
    'ORDER BY column <~> code on a bit(8) to bit(1024) column';

CREATE FUNCTION hamming_check(index regclass) RETURNS void
    LANGUAGE c STRICT VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION hamming_check(regclass) IS
    'raises an error unless the index is sound and holds every row of its table exactly once';

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
    'what the index holds: length of codes, entries (nulls among them), pages, entries and bounds a page, and the popcount kernel of this processor';

CREATE FUNCTION hamming_skipped(index regclass, code bit) RETURNS double precision
    LANGUAGE c STRICT VOLATILE PARALLEL SAFE AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION hamming_skipped(regclass, bit) IS
    'share of the data pages, 0 to 1, that the first pass of a scan for this code need not read';
