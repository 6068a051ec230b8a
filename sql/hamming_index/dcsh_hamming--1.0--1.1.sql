\echo Use "ALTER EXTENSION dcsh_hamming UPDATE" to load this file. \quit

CREATE FUNCTION hamming_nearest(
    index regclass, code bit, k integer, max_distance integer, most integer,
    VARIADIC conditions "any",
    OUT tids tid[], OUT distances integer[]
) LANGUAGE c STABLE PARALLEL SAFE AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION hamming_nearest(regclass, bit, integer, integer, integer, "any") IS
    'of the rows that meet conditions by other indexes of the table, the k nearest to a code and all as near as the last of them, nearest first; conditions are triples of column, operator and operand (or an array of them), which the rows found may miss where an index is lossy; NULL where more than most rows meet them';

CREATE FUNCTION hamming_connect(codes bit[], radius integer, most integer) RETURNS integer[]
    LANGUAGE c STRICT IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION hamming_connect(bit[], integer, integer) IS
    'for each code the place of the first one that it is connected to by steps of at most radius bits; NULL where that takes more than most comparisons a code';
