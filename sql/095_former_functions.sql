-- Drop the functions that 010_former_functions.sql renamed, unless something of a user depends on one.

DO $$
DECLARE
    former regprocedure[] := ARRAY(
        SELECT p.oid::regprocedure FROM pg_proc p
        WHERE p.pronamespace IN ('dcsh'::regnamespace, 'dcsh_private'::regnamespace)
            AND p.proname ^@ '_former_');
    dependent text;
    used text;
BEGIN
    SELECT coalesce('view ' || w.ev_class::regclass,
                    pg_describe_object(d.classid, d.objid, d.objsubid)),
            format('%s.%s', p.pronamespace::regnamespace, substr(p.proname, length('_former_') + 1))
        INTO dependent, used
        FROM pg_depend d
            JOIN pg_proc p ON p.oid = d.refobjid
            LEFT JOIN pg_rewrite w ON d.classid = 'pg_rewrite'::regclass AND w.oid = d.objid
        WHERE d.refclassid = 'pg_proc'::regclass AND d.refobjid = ANY (former) AND d.deptype = 'n'
            AND NOT (d.classid = 'pg_proc'::regclass AND d.objid = ANY (former))
        ORDER BY 1
        LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION '% depends on function %, which this version replaces', dependent, used
            USING ERRCODE = 'dependent_objects_still_exist',
                  HINT = 'drop it, run ''dcsh-pg db upgrade'', then create it again; nothing was changed';
    END IF;
    IF cardinality(former) > 0 THEN
        EXECUTE 'DROP FUNCTION ' || array_to_string(former, ', ');
    END IF;
END
$$;
