/*
 * hamming_connect: which of an array of codes are connected by steps of few bits.
 */
#include "hamming.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/varbit.h"

#include "connect.h"

PG_FUNCTION_INFO_V1(hamming_connect);

static void
pause_join(void)
{
	CHECK_FOR_INTERRUPTS();
}

static void *
allocate(Size bytes)
{
	return palloc_extended(Max(bytes, 1), MCXT_ALLOC_HUGE);
}

/*
 * The codes as records, each with its place in the array.
 */
static HammingRecords
read_codes(ArrayType *array)
{
	HammingRecords records = {.count = 0};
	HammingShape shape = {.bits = 0};
	Datum	   *codes;
	bool	   *isnull;
	int			count;

	if (ARR_NDIM(array) > 1)
		ereport(ERROR,
				(errcode(ERRCODE_ARRAY_SUBSCRIPT_ERROR),
				 errmsg("codes must be a one-dimensional array")));
	deconstruct_array(array, ARR_ELEMTYPE(array), -1, false, TYPALIGN_INT, &codes, &isnull, &count);
	for (int i = 0; i < count; i++)
	{
		if (isnull[i])
			ereport(ERROR,
					(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED), errmsg("a code must not be null")));
		if (i == 0)
		{
			shape.bits = VARBITLEN(DatumGetVarBitP(codes[0]));
			if (shape.bits < 1 || shape.bits > HAMMING_MAX_BITS)
				ereport(ERROR,
						(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
						 errmsg("a code has 1 to %d bits, not %d", HAMMING_MAX_BITS, shape.bits)));
			shape.words = (shape.bits + 63) / 64;
			records.records = allocate((Size) count * (shape.words + 1) * sizeof(uint64));
			records.words = shape.words;
		}
		hamming_read_code(codes[i], &shape, hamming_record(&records, i));
		hamming_record(&records, i)[shape.words] = i;
		records.count++;
	}
	records.scratch = allocate((Size) count * sizeof(int16));
	return records;
}

Datum
hamming_connect(PG_FUNCTION_ARGS)
{
	HammingRecords records = read_codes(PG_GETARG_ARRAYTYPE_P(0));
	int32		radius = PG_GETARG_INT32(1);
	int32		most = PG_GETARG_INT32(2);
	size_t		blocks = hamming_most_blocks(records.count);
	HammingBlocks room;
	uint32	   *roots;
	Datum	   *places;

	if (radius < 0 || most < 1)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("radius must not be negative, and most must be positive")));
	if (records.count == 0)
		PG_RETURN_ARRAYTYPE_P(construct_empty_array(INT4OID));

	room.codes = allocate(hamming_most_slots(records.count) * records.words * sizeof(uint64));
	room.centres = allocate(blocks * records.words * sizeof(uint64));
	room.radii = allocate(blocks * sizeof(uint16));
	room.firsts = allocate(blocks * sizeof(uint32));
	room.slots = allocate(blocks * sizeof(uint32));
	roots = allocate(records.count * sizeof(uint32));
	if (!hamming_connect_records(&records, Min(radius, HAMMING_MAX_BITS),
								 (uint64) most * records.count, roots, &room,
								 palloc(sizeof(HammingWorkspace)), pause_join))
		PG_RETURN_NULL();

	places = allocate(records.count * sizeof(Datum));
	for (size_t i = 0; i < records.count; i++)
		places[i] = Int32GetDatum((int32) roots[i] + 1);
	PG_RETURN_ARRAYTYPE_P(construct_array(places, (int) records.count, INT4OID, sizeof(int32),
										  true, TYPALIGN_INT));
}
