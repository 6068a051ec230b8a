-- Scenes by their properties: a filter in CQL2-JSON becomes a condition on dcsh.scene s. Operators come
-- from fixed lists, names and values are quoted literals.

CREATE OR REPLACE FUNCTION dcsh_private.cql2_error(problem text, found jsonb) RETURNS text
    LANGUAGE plpgsql IMMUTABLE
    SET search_path FROM CURRENT
AS $$
BEGIN
    RAISE EXCEPTION '%: %', problem, left(coalesce(found::text, 'NULL'), 200)
        USING ERRCODE = 'invalid_parameter_value',
              HINT = 'supported are and, or, not, =, <>, <, <=, >, >=, between, in, like, isNull and casei on a property and values: {"op": "<=", "args": [{"property": "gsd"}, 0.5]}';
END
$$;
COMMENT ON FUNCTION dcsh_private.cql2_error IS 'An error about a part of a CQL2-JSON filter';

CREATE OR REPLACE FUNCTION dcsh_private.instant(value text) RETURNS timestamptz
    LANGUAGE plpgsql IMMUTABLE
    SET search_path FROM CURRENT
    SET timezone = 'UTC'
AS $$
BEGIN
    IF value ~* '^\d{4}-\d\d-\d\d([t ]\d\d:\d\d:\d\d(\.\d+)?(z|[+-]\d\d:\d\d)?)?$' THEN
        RETURN value::timestamptz;
    END IF;
    RETURN NULL;
EXCEPTION WHEN data_exception THEN
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION dcsh_private.instant IS 'The time that a text in RFC 3339 means, a date at 00:00 UTC; NULL for other text';

-- A value of another type, like a missing property, makes the condition NULL, as SQL and CQL2 have it.
CREATE OR REPLACE FUNCTION dcsh_private.cql2_comparison(op text, operand jsonb, literal jsonb) RETURNS text
    LANGUAGE plpgsql STABLE
    SET search_path FROM CURRENT
    SET datestyle = 'ISO'
AS $$
DECLARE
    folds boolean := operand ->> 'op' IS NOT DISTINCT FROM 'casei';
    property jsonb := CASE WHEN folds THEN operand #> '{args,0,property}' ELSE operand -> 'property' END;
    json text := format('s.properties -> %L', property #>> '{}');
    value text := format('(s.properties ->> %L)', property #>> '{}');
    folded jsonb := CASE WHEN literal ->> 'op' = 'casei' THEN literal #> '{args,0}' END;
    constant text := coalesce(folded, literal) #>> '{}';
    moment text := coalesce(literal ->> 'timestamp', literal ->> 'date');
BEGIN
    IF jsonb_typeof(property) IS DISTINCT FROM 'string' THEN
        RETURN dcsh_private.cql2_error('not a property', operand);
    ELSIF moment IS NOT NULL AND dcsh_private.instant(moment) IS NULL THEN
        RETURN dcsh_private.cql2_error('not a date or time in RFC 3339', literal);
    ELSIF jsonb_typeof(coalesce(folded, literal)) = 'string' THEN
        IF op = 'LIKE' AND length(substring(constant FROM '\\*$')) % 2 = 1 THEN
            RETURN dcsh_private.cql2_error('the pattern ends with the escape character', literal);
        END IF;
        RETURN format('CASE jsonb_typeof(%s) WHEN ''string'' THEN %s COLLATE "C" %s %L END', json,
                      CASE WHEN folds THEN format('lower(%s)', value) ELSE value END, op,
                      CASE WHEN folded IS NULL THEN constant ELSE lower(constant) END);
    ELSIF op = 'LIKE' OR folds OR folded IS NOT NULL THEN
        RETURN dcsh_private.cql2_error('not a string', literal);
    ELSIF jsonb_typeof(literal) = 'number' THEN
        RETURN format('CASE jsonb_typeof(%1$s) WHEN ''number'' THEN (%1$s)::numeric %2$s %3$L::numeric END',
                      json, op, constant);
    ELSIF jsonb_typeof(literal) = 'boolean' THEN
        RETURN format('CASE jsonb_typeof(%1$s) WHEN ''boolean'' THEN (%1$s)::boolean %2$s %3$s END',
                      json, op, constant);
    ELSIF literal ->> 'timestamp' IS NOT NULL THEN
        RETURN format('dcsh_private.instant(%s) %s %L::timestamptz', value, op, dcsh_private.instant(moment));
    ELSIF moment IS NOT NULL THEN
        RETURN format('(dcsh_private.instant(%s) AT TIME ZONE ''UTC'')::date %s %L::date', value, op,
                      (dcsh_private.instant(moment) AT TIME ZONE 'UTC')::date);
    END IF;
    RETURN dcsh_private.cql2_error('not a value to compare a property with', literal);
END
$$;
COMMENT ON FUNCTION dcsh_private.cql2_comparison IS 'Condition that a property of scene s compares with a value; op is an operator of SQL';

CREATE OR REPLACE FUNCTION dcsh_private.cql2_condition(filter jsonb, depth integer DEFAULT 1) RETURNS text
    LANGUAGE plpgsql STABLE
    SET search_path FROM CURRENT
AS $$
DECLARE
    op text := filter ->> 'op';
    args jsonb := CASE jsonb_typeof(filter -> 'args') WHEN 'array' THEN filter -> 'args' ELSE '[]' END;
    n integer := jsonb_array_length(args);
BEGIN
    IF depth > 32 THEN
        RETURN dcsh_private.cql2_error('the filter is nested more than 32 levels deep', filter);
    ELSIF jsonb_typeof(filter) = 'boolean' THEN
        RETURN filter::text;
    ELSIF filter -> 'property' IS NOT NULL THEN
        RETURN dcsh_private.cql2_comparison('=', filter, 'true');
    ELSIF op IN ('and', 'or') AND n > 0 THEN
        RETURN (SELECT string_agg(format('(%s)', dcsh_private.cql2_condition(a.arg, depth + 1)), ' ' || op || ' ' ORDER BY a.place)
                FROM jsonb_array_elements(args) WITH ORDINALITY a(arg, place));
    ELSIF op = 'not' AND n = 1 THEN
        RETURN format('NOT (%s)', dcsh_private.cql2_condition(args -> 0, depth + 1));
    ELSIF op = 'isNull' AND n = 1 AND jsonb_typeof(args #> '{0,property}') = 'string' THEN
        RETURN format('coalesce(jsonb_typeof(s.properties -> %L), ''null'') = ''null''', args #>> '{0,property}');
    ELSIF op IN ('=', '<>', '<', '<=', '>', '>=') AND n = 2 THEN
        IF coalesce(args #> '{0,property}', args #> '{0,args,0,property}') IS NULL THEN
            args := jsonb_build_array(args -> 1, args -> 0);
            op := CASE WHEN op ~ '^[<>]=?$' THEN translate(op, '<>', '><') ELSE op END;
        END IF;
        RETURN dcsh_private.cql2_comparison(op, args -> 0, args -> 1);
    ELSIF op = 'like' AND n = 2 THEN
        RETURN dcsh_private.cql2_comparison('LIKE', args -> 0, args -> 1);
    ELSIF op = 'between' AND n = 3 THEN
        RETURN dcsh_private.cql2_comparison('>=', args -> 0, args -> 1) || ' AND '
            || dcsh_private.cql2_comparison('<=', args -> 0, args -> 2);
    ELSIF op = 'in' AND n = 2 AND jsonb_typeof(args -> 1) = 'array' AND args -> 1 <> '[]' THEN
        RETURN (SELECT string_agg(dcsh_private.cql2_comparison('=', args -> 0, a.value), ' OR ' ORDER BY a.place)
                FROM jsonb_array_elements(args -> 1) WITH ORDINALITY a(value, place));
    END IF;
    RETURN dcsh_private.cql2_error('not a filter in CQL2-JSON that is supported', filter);
END
$$;
COMMENT ON FUNCTION dcsh_private.cql2_condition IS 'A CQL2-JSON filter as a condition on dcsh.scene s, or an error';

CREATE OR REPLACE FUNCTION dcsh.scenes_where(archive text, filter jsonb) RETURNS SETOF bigint
    LANGUAGE plpgsql STABLE
    SET search_path FROM CURRENT
AS $$
DECLARE
    target dcsh.archive := dcsh_private.archive(archive);
    condition text := dcsh_private.cql2_condition(filter);
    known text[];
    unknown text;
BEGIN
    FOR unknown IN
        SELECT DISTINCT p.name #>> '{}' FROM jsonb_path_query(filter, '$.**.property') p(name)
        WHERE NOT EXISTS (SELECT FROM dcsh.scene s
                          WHERE s.archive_id = target.id AND s.properties ? (p.name #>> '{}'))
    LOOP
        known := coalesce(known, ARRAY(
            SELECT DISTINCT jsonb_object_keys(s.properties) AS name
            FROM dcsh.scene s WHERE s.archive_id = target.id ORDER BY name));
        RAISE WARNING 'no scene of archive "%" has the property "%"; properties: %',
                archive, unknown, array_to_string(known, ', ')
            USING ERRCODE = '02000';  -- no_data
    END LOOP;
    RETURN QUERY EXECUTE format(
        'SELECT s.id FROM dcsh.scene s WHERE s.archive_id = $1 AND (%s) ORDER BY s.id',
        condition) USING target.id;
END
$$;
COMMENT ON FUNCTION dcsh.scenes_where IS 'The scenes of an archive whose properties satisfy a CQL2-JSON filter, by id; pass them to a search as scenes. Numbers compare as numbers, strings by code point, {"timestamp": ...} and {"date": ...} as times in UTC; a missing property or one of another type satisfies no comparison, negated or not; a property that no scene has gives a warning';
