/*
 * hamming_connect: groups an array of codes into connected components.
 */
#include "hamming.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/varbit.h"

#include "components.h"

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
 * Reads the codes as records, each with its index in the array.
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
					(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED), errmsg("codes must not be null")));
		if (i == 0)
		{
			shape.bits = VARBITLEN(DatumGetVarBitP(codes[0]));
			if (shape.bits < 1 || shape.bits > HAMMING_MAX_BITS)
				ereport(ERROR,
						(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
						 errmsg("codes must have 1 to %d bits, not %d", HAMMING_MAX_BITS,
								shape.bits)));
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
	int32		max_per_code = PG_GETARG_INT32(2);
	size_t		block_count = hamming_max_blocks(records.count);
	HammingBlocks blocks;
	uint32	   *roots;
	Datum	   *members;

	if (radius < 0 || max_per_code < 1)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("radius must not be negative, and most must be positive")));
	if (records.count == 0)
		PG_RETURN_ARRAYTYPE_P(construct_empty_array(INT4OID));

	blocks.codes = allocate(hamming_max_slots(records.count) * records.words * sizeof(uint64));
	blocks.centres = allocate(block_count * records.words * sizeof(uint64));
	blocks.radii = allocate(block_count * sizeof(uint16));
	blocks.firsts = allocate(block_count * sizeof(uint32));
	blocks.slots = allocate(block_count * sizeof(uint32));
	roots = allocate(records.count * sizeof(uint32));
	if (!hamming_connected_components(&records, Min(radius, HAMMING_MAX_BITS),
									  (uint64) max_per_code * records.count, roots, &blocks,
									  palloc(sizeof(HammingWorkspace)), pause_join))
		PG_RETURN_NULL();

	members = allocate(records.count * sizeof(Datum));
	for (size_t i = 0; i < records.count; i++)
		members[i] = Int32GetDatum((int32) roots[i] + 1);
	PG_RETURN_ARRAYTYPE_P(construct_array(members, (int) records.count, INT4OID, sizeof(int32),
										  true, TYPALIGN_INT));
}
