/*
 * hamming_stats, hamming_skipped and hamming_format: statistics of an index, the share of pages that a
 * query skips, and the page format.
 */
#include "hamming.h"

#include "access/htup_details.h"
#include "access/relation.h"
#include "access/table.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"

PG_FUNCTION_INFO_V1(hamming_stats);
PG_FUNCTION_INFO_V1(hamming_skipped);
PG_FUNCTION_INFO_V1(hamming_format);

/*
 * Counts the entries of a data page and the nulls among them.
 */
static void
count_entries(Relation index, const HammingShape *shape, BlockNumber block, int64 *entries,
			  int64 *nulls)
{
	Buffer		buffer = ReadBuffer(index, block);
	Page		page = BufferGetPage(buffer);

	LockBuffer(buffer, BUFFER_LOCK_SHARE);
	if (!PageIsNew(page))
	{
		int			count;

		hamming_verify_page(index, block, page, HAMMING_DATA, shape);
		count = HammingPageGetOpaque(page)->count;
		*entries += count;
		for (int i = 0; i < count; i++)
			*nulls += (hamming_page_tid(page, i)->ip_posid & HAMMING_NULL_FLAG) != 0;
	}
	UnlockReleaseBuffer(buffer);
}

Datum
hamming_stats(PG_FUNCTION_ARGS)
{
	Relation	heap;
	Relation	index = hamming_open(PG_GETARG_OID(0), HAMMING_READ, false, &heap);
	HammingShape shape = hamming_shape(index);
	BlockNumber blocks = RelationGetNumberOfBlocks(index);
	int64		entries = 0;
	int64		nulls = 0;
	int64		directories = 0;
	TupleDesc	descriptor;
	Datum		values[8];
	bool		isnull[8] = {false};

	if (get_call_result_type(fcinfo, NULL, &descriptor) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");

	for (BlockNumber block = 1; block < blocks; block++)
	{
		CHECK_FOR_INTERRUPTS();
		if (hamming_is_directory(&shape, block))
			directories++;
		else
			count_entries(index, &shape, block, &entries, &nulls);
	}

	values[0] = Int32GetDatum(shape.bits);
	values[1] = Int64GetDatum(entries);
	values[2] = Int64GetDatum(nulls);
	values[3] = Int64GetDatum((int64) blocks - 1 - directories);
	values[4] = Int64GetDatum(directories);
	values[5] = Int32GetDatum(shape.capacity);
	values[6] = Int32GetDatum(shape.balls);
	values[7] = CStringGetTextDatum(hamming_kernel()->name);
	relation_close(index, AccessShareLock);
	table_close(heap, AccessShareLock);
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(descriptor), values, isnull)));
}

Datum
hamming_skipped(PG_FUNCTION_ARGS)
{
	Relation	heap;
	Relation	index = hamming_open(PG_GETARG_OID(0), HAMMING_READ, false, &heap);
	HammingShape shape = hamming_shape(index);
	HammingSearch *search = hamming_search_create(index);
	uint64		query[HAMMING_MAX_WORDS];
	ItemPointerData nearest;
	BlockNumber pages;
	BlockNumber visited;

	hamming_read_code(PG_GETARG_DATUM(1), &shape, query);
	hamming_search_start(search, query);
	hamming_search_next(search, &nearest);
	pages = hamming_search_pages(search, &visited);
	hamming_search_free(search);
	relation_close(index, AccessShareLock);
	table_close(heap, AccessShareLock);
	PG_RETURN_FLOAT8(pages == 0 ? 0 : (double) (pages - visited) / pages);
}

/*
 * Reads the metapage alone, so it works for indexes that other functions refuse.
 */
Datum
hamming_format(PG_FUNCTION_ARGS)
{
	Relation	heap;
	Relation	index = hamming_open(PG_GETARG_OID(0), HAMMING_DESCRIBE, true, &heap);
	HammingMetaPageData meta;
	TupleDesc	descriptor;
	Datum		values[2];
	bool		isnull[2] = {false};

	if (get_call_result_type(fcinfo, NULL, &descriptor) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	if (index == NULL)
		PG_RETURN_NULL();
	isnull[0] = RelationGetNumberOfBlocks(index) == 0 || !hamming_read_metapage(index, &meta);
	values[0] = isnull[0] ? (Datum) 0 : Int64GetDatum((int64) meta.format);
	values[1] = Int64GetDatum(HAMMING_FORMAT);
	relation_close(index, AccessShareLock);
	table_close(heap, AccessShareLock);
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(descriptor), values, isnull)));
}
