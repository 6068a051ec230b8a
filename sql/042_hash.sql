-- Hashing a vector in SQL, where the model is a linear function of it: the card in dcsh.model has its weights.

CREATE OR REPLACE FUNCTION dcsh.hash(archive text, vector real[]) RETURNS bit varying
    LANGUAGE plpgsql STABLE
    SET search_path FROM CURRENT
AS $$
DECLARE
    card jsonb;
    dimension integer;
    length double precision := 1;
    code text;
BEGIN
    SELECT m.card INTO STRICT card FROM dcsh.model m WHERE m.id = (dcsh_private.archive(archive)).model_id;
    IF card->>'input' IS DISTINCT FROM 'vector' THEN
        RAISE EXCEPTION 'the model of archive "%" takes images, not vectors', archive
            USING ERRCODE = 'wrong_object_type', HINT = 'hash an image with dcsh-pg search --image FILE';
    END IF;
    dimension := (card->>'bands')::integer;
    IF array_ndims(vector) IS DISTINCT FROM 1 OR cardinality(vector) <> dimension THEN
        RAISE EXCEPTION 'the model of archive "%" takes vectors of % numbers, not %',
            archive, dimension, coalesce(cardinality(vector), 0)
            USING ERRCODE = 'array_subscript_error';
    END IF;
    IF EXISTS (SELECT FROM unnest(vector) x WHERE x IS NULL OR x IN ('NaN', 'Infinity', '-Infinity')) THEN
        RAISE EXCEPTION 'a number of the vector is NULL, NaN or infinite' USING ERRCODE = 'data_exception';
    END IF;
    IF coalesce(card->'head', '{}') = '{}' THEN
        RAISE EXCEPTION 'the model of archive "%" is not a linear function small enough for SQL', archive
            USING ERRCODE = 'feature_not_supported',
                  HINT = 'pass the code that a client makes: Archive.query_vector(vector).code in Python, or dcsh-pg search --vector FILE.npy';
    END IF;
    IF (card#>>'{head,unit_length}')::boolean THEN
        length := greatest(sqrt((SELECT sum(x::double precision ^ 2) FROM unnest(vector) x)), 1e-12);
    END IF;
    SELECT string_agg(CASE WHEN b.bias::real + s.z / length >= 0 THEN '1' ELSE '0' END, '' ORDER BY b.n)
        INTO code
        FROM jsonb_array_elements_text(card#>'{head,bias}') WITH ORDINALITY b(bias, n)
        JOIN (SELECT (w.n - 1) / dimension + 1 AS bit,
                     sum(w.weight::real * vector[(w.n - 1) % dimension + 1]::double precision) AS z
              FROM jsonb_array_elements_text(card#>'{head,weight}') WITH ORDINALITY w(weight, n)
              GROUP BY 1) s ON s.bit = b.n;
    RETURN code::bit varying;
END
$$;
COMMENT ON FUNCTION dcsh.hash IS 'The code of an embedding in an archive whose model takes embeddings, to be given to dcsh.similar; an error unless the model is a linear function of at most 65536 weights. A number of the model within rounding of 0 may give another bit than the model file';
