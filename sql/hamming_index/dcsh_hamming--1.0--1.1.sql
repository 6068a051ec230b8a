\echo Use "ALTER EXTENSION dcsh_hamming UPDATE" to load this file. \quit

CREATE FUNCTION hamming_nearest(
    index regclass, code bit, k integer, max_distance integer, most integer,
    VARIADIC conditions "any",
    OUT tids tid[], OUT distances integer[]
) LANGUAGE c STABLE PARALLEL SAFE AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION hamming_nearest(regclass, bit, integer, integer, integer, "any") IS
    'the k rows nearest to a code, and all as near as the last, among the rows that other indexes of the table select; conditions are triples of column, operator and operand or array of operands, to be rechecked if an index is lossy; NULL if more than most rows meet them';

CREATE FUNCTION hamming_connect(codes bit[], radius integer, most integer) RETURNS integer[]
    LANGUAGE c STRICT IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION hamming_connect(bit[], integer, integer) IS
    'for each code the position of the first code in its connected component, where codes within radius bits are connected; NULL if that takes more than most comparisons per code';
