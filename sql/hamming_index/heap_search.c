/*
 * Search among a few rows by the codes in the table itself.
 */
#include "hamming.h"

#include "access/genam.h"
#include "access/tableam.h"
#include "miscadmin.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/varbit.h"

/* A page of the index takes as long as so many rows of the table, or as going to so many of its pages. */
#define ROWS_PER_PAGE 8
#define HEAP_PAGES_PER_PAGE 4

/*
 * Returns how many pages of the table the selected rows are on.
 */
static int64
count_heap_pages(Relation heap, const uint64 *tids, int rows)
{
	BlockNumber blocks = RelationGetNumberOfBlocks(heap);
	uint8	   *seen = palloc0(blocks / 8 + 1);
	int64		count = 0;

	for (int i = 0; i < rows; i++)
	{
		uint64		block = tids[i] >> 16;
		uint8		bit = 1 << block % 8;

		/* Entries of dead rows may point beyond a table that VACUUM has truncated. */
		if (block >= blocks || (seen[block / 8] & bit))
			continue;
		seen[block / 8] |= bit;
		count++;
	}
	pfree(seen);
	return count;
}

/*
 * Whether fetching the selected rows is faster than a pass over the index.
 */
bool
hamming_prefers_heap(Relation heap, Relation index, const HammingTidSet *selected)
{
	int64		pages = RelationGetNumberOfBlocks(index);
	int			rows;
	const uint64 *tids = hamming_tid_set_members(selected, &rows);

	pages -= rows / ROWS_PER_PAGE;
	return index->rd_index->indkey.values[0] > 0 && pages > 0 &&
		count_heap_pages(heap, tids, rows) / HEAP_PAGES_PER_PAGE < pages;
}

/*
 * As hamming_read_code, but without a copy if the value is stored inline and uncompressed.
 */
static void
read_code(Datum value, const HammingShape *shape, uint64 *code)
{
	struct varlena *stored = (struct varlena *) DatumGetPointer(value);

	if (VARATT_IS_EXTERNAL(stored) || VARATT_IS_COMPRESSED(stored) ||
		VARSIZE_ANY_EXHDR(stored) != sizeof(int32) + (shape->bits + 7) / 8)
		hamming_read_code(value, shape, code);
	else
	{
		code[shape->words - 1] = 0;
		memcpy(code, VARDATA_ANY(stored) + sizeof(int32),
			   VARSIZE_ANY_EXHDR(stored) - sizeof(int32));
	}
}

/*
 * Returns the keys of the k nearest selected rows that are visible, and of all rows as near as the
 * last, in ascending order.
 */
uint64 *
hamming_search_heap(Relation heap, Relation index, const HammingTidSet *selected,
					const uint64 *query, int k, int max_distance, int *count)
{
	HammingShape shape = hamming_shape(index);
	const HammingKernel *kernel = hamming_kernel();
	IndexFetchTableData *fetch = table_index_fetch_begin(heap);
	TupleTableSlot *slot = table_slot_create(heap, NULL);
	Snapshot	snapshot = GetActiveSnapshot();
	int			rows;
	const uint64 *tids = hamming_tid_set_members(selected, &rows);
	uint64	   *keys = palloc_extended((Size) Max(rows, 1) * sizeof(uint64), MCXT_ALLOC_HUGE);
	int			at_distance[HAMMING_MAX_BITS + 1] = {0};
	int			found = 0;
	int			reached = 0;
	int			limit = 0;
	int			kept = 0;

	for (int i = 0; i < rows; i++)
	{
		ItemPointerData tid;
		bool		call_again = false;
		bool		isnull;
		Datum		value;
		uint64		code[HAMMING_MAX_WORDS];
		int			distance;

		CHECK_FOR_INTERRUPTS();
		hamming_tid_of_number(tids[i], &tid);
		if (!table_index_fetch_tuple(fetch, &tid, snapshot, slot, &call_again, NULL))
			continue;
		value = slot_getattr(slot, index->rd_index->indkey.values[0], &isnull);
		if (isnull)
			continue;
		read_code(value, &shape, code);
		distance = kernel->distance(code, query, shape.words);
		if (distance > max_distance)
			continue;
		at_distance[distance]++;
		keys[found++] = hamming_key(distance, &slot->tts_tid);
	}
	ExecDropSingleTupleTableSlot(slot);
	table_index_fetch_end(fetch);

	/* The least distance within which there are k rows. */
	while (limit < shape.bits && (reached += at_distance[limit]) < k)
		limit++;
	for (int i = 0; i < found; i++)
		if ((int) hamming_key_distance(keys[i]) <= limit)
			keys[kept++] = keys[i];
	hamming_sort_keys(keys, kept);
	*count = kept;
	return keys;
}
