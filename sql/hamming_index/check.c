/*
 * hamming_check and hamming_check_pages: verify an index and compare it with its table.
 *
 * They block neither readers nor writers.  A row that a snapshot sees had its entry before the
 * snapshot was taken, and VACUUM cannot remove the entry before the snapshot is released.  Entries
 * stay on their pages, and each page is read under its lock.  So a portion of the rows is read first;
 * one pass over the index then verifies every page and must find one entry for each of these rows.
 */
#include "hamming.h"

#include <math.h>

#include "access/heapam.h"
#include "access/htup_details.h"
#include "access/relation.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/index.h"
#include "common/hashfn.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "nodes/execnodes.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

PG_FUNCTION_INFO_V1(hamming_check);
PG_FUNCTION_INFO_V1(hamming_check_pages);

/* Pages of the table that are read at a time. */
#define CHUNK 64

/* Flag in a digest: the row's entry has been found. */
#define MATCHED UINT64CONST(1)

/* A row: block and offset, and a digest of its code. */
typedef struct Row
{
	uint64		tid;
	uint64		digest;
} Row;

typedef struct CheckState
{
	Relation	heap;
	Relation	index;
	HammingShape shape;
	Snapshot	snapshot;
	IndexInfo  *index_info;

	Row		   *rows;			/* of the portion, ascending by TID */
	size_t		count;
	size_t		allocated;
	size_t		room;			/* about as many as maintenance_work_mem holds */
	int64		entries;
} CheckState;

#define ST_SORT sort_rows
#define ST_ELEMENT_TYPE Row
#define ST_COMPARE(a, b) ((a)->tid < (b)->tid ? -1 : (a)->tid > (b)->tid)
#define ST_CHECK_FOR_INTERRUPTS
#define ST_SCOPE static
#define ST_DEFINE
#include "lib/sort_template.h"

#define report_corruption(state, ...) \
	ereport(ERROR, \
			(errcode(ERRCODE_INDEX_CORRUPTED), \
			 errmsg("index \"%s\" is corrupted", RelationGetRelationName((state)->index)), \
			 errdetail(__VA_ARGS__), \
			 errhint("Please REINDEX it.")))

#define report_row(state, message, number) \
	do { \
		ItemPointerData row_tid; \
		hamming_tid_of_number(number, &row_tid); \
		report_corruption(state, message, ItemPointerGetBlockNumber(&row_tid), \
						  ItemPointerGetOffsetNumber(&row_tid)); \
	} while (0)

static uint64
code_digest(const HammingShape *shape, const uint64 *code, bool is_null)
{
	return is_null ? 0 :
		hash_bytes_extended((const unsigned char *) code, shape->words * sizeof(uint64), 1) & ~MATCHED;
}

static void
add_row(Relation index, ItemPointer tid, Datum *values, bool *isnull, bool tuple_is_alive,
		void *callback_state)
{
	CheckState *state = callback_state;
	uint64		code[HAMMING_MAX_WORDS];

	if (state->count == state->allocated)
	{
		state->allocated *= 2;
		state->rows = repalloc_huge(state->rows, state->allocated * sizeof(Row));
	}
	if (!isnull[0])
		hamming_read_code(values[0], &state->shape, code);
	state->rows[state->count].tid = hamming_tid_number(tid);
	state->rows[state->count].digest = code_digest(&state->shape, code, isnull[0]);
	state->count++;
}

/*
 * Reads the rows on some pages of the table that must have entries: those that a snapshot taken now
 * sees.  Our older snapshot keeps VACUUM from removing their entries.
 */
static void
read_rows(CheckState *state, BlockNumber first, BlockNumber pages)
{
	CHECK_FOR_INTERRUPTS();
	table_index_build_range_scan(state->heap, state->index, state->index_info, false, false, false,
								 first, pages, add_row, state, NULL);
}

/*
 * Reads rows from page next to before page end, of a sample of the pages, until memory is full.
 * Returns the first page that was not read.
 *
 * Runs as the table's owner: functions of an index expression must not run with the privileges of
 * the user who checks it.
 */
static BlockNumber
read_portion(CheckState *state, BlockNumber next, BlockNumber end, double sample, uint32 seed)
{
	int			guc_level = NewGUCNestLevel();
	Oid			user;
	int			security_context;

	GetUserIdAndSecContext(&user, &security_context);
	SetUserIdAndSecContext(state->heap->rd_rel->relowner,
						   security_context | SECURITY_RESTRICTED_OPERATION);
#if PG_VERSION_NUM >= 170000
	RestrictSearchPath();
#endif

	state->count = 0;
	while (next < end && state->count < state->room)
	{
		BlockNumber pages = sample < 1 ? 1 : Min(CHUNK, end - next);

		if (sample >= 1 || murmurhash32(next ^ seed) < sample * PG_UINT32_MAX)
			read_rows(state, next, pages);
		next += pages;
	}
	sort_rows(state->rows, state->count);

	AtEOXact_GUC(false, guc_level);
	SetUserIdAndSecContext(user, security_context);
	return next;
}

/*
 * Compares an entry with its row, if that is in the portion.
 */
static void
match_row(CheckState *state, const HammingEntry *entry)
{
	ItemPointerData tid = entry->tid;
	uint64		wanted = hamming_tid_number(&tid);
	size_t		low = 0;
	size_t		high = state->count;

	while (low < high)
	{
		size_t		middle = low + (high - low) / 2;

		if (state->rows[middle].tid < wanted)
			low = middle + 1;
		else
			high = middle;
	}
	if (low == state->count || state->rows[low].tid != wanted)
		return;
	if (state->rows[low].digest & MATCHED)
		report_row(state, "The row at (%u,%u) has more than one entry.", wanted);
	if (state->rows[low].digest != code_digest(&state->shape, entry->code, entry->is_null))
		report_row(state, "The row at (%u,%u) and its entry have different codes.", wanted);
	state->rows[low].digest |= MATCHED;
}

/*
 * Checks the entries of a data page against its balls and the rows of the portion.
 */
static void
check_entries(CheckState *state, BlockNumber block, Page page, const HammingBalls *balls)
{
	const HammingShape *shape = &state->shape;
	int			count = HammingPageGetOpaque(page)->count;

	for (int i = 0; i < count; i++)
	{
		HammingEntry entry;

		hamming_page_get(page, shape, i, &entry);
		if (!ItemPointerIsValid(&entry.tid))
			report_corruption(state, "Entry %d of block %u has an invalid TID.", i, block);
		if (!hamming_code_is_padded(shape, entry.code))
			report_corruption(state, "Entry %d of block %u has more than %d bits.", i, block,
							  shape->bits);
		if (!entry.is_null && !hamming_balls_cover(balls, entry.code))
			report_corruption(state, "Entry %d of block %u lies in none of the balls of its page.",
							  i, block);
		match_row(state, &entry);
	}
	state->entries += count;
}

static void
check_page(CheckState *state, BlockNumber block)
{
	BlockNumber directory_block = hamming_directory_of(&state->shape, block);
	Buffer		buffer = ReadBuffer(state->index, block);
	Buffer		directory_buffer = ReadBuffer(state->index, directory_block);
	Page		page = BufferGetPage(buffer);
	Page		directory = BufferGetPage(directory_buffer);
	HammingBalls balls = {.count = 0};

	LockBuffer(buffer, BUFFER_LOCK_SHARE);
	LockBuffer(directory_buffer, BUFFER_LOCK_SHARE);
	if (!PageIsNew(directory))
	{
		hamming_verify_page(state->index, directory_block, directory, HAMMING_DIRECTORY,
							&state->shape);
		balls = hamming_page_balls(directory, &state->shape, block);
	}
	if (!PageIsNew(page))
	{
		hamming_verify_page(state->index, block, page, HAMMING_DATA, &state->shape);
		if (PageIsNew(directory))
			report_corruption(state, "Block %u has entries, but its directory page is zeroed.", block);
		check_entries(state, block, page, &balls);
	}
	else if (hamming_balls_in_use(&balls))
		report_corruption(state, "Block %u is zeroed, but its directory page has balls for it.", block);
	UnlockReleaseBuffer(directory_buffer);
	UnlockReleaseBuffer(buffer);
}

/*
 * Verifies every page of the index; each row of the portion must have an entry.
 */
static void
check_index(CheckState *state)
{
	BlockNumber blocks = RelationGetNumberOfBlocks(state->index);

	state->entries = 0;
	for (BlockNumber block = 1; block < blocks; block++)
	{
		CHECK_FOR_INTERRUPTS();
		if (!hamming_is_directory(&state->shape, block))
			check_page(state, block);
	}
	for (size_t i = 0; i < state->count; i++)
		if (!(state->rows[i].digest & MATCHED))
			report_row(state, "The row at (%u,%u) has no entry.", state->rows[i].tid);
}

static void
begin_check(CheckState *state, Oid index_oid)
{
	state->index = hamming_open(index_oid, HAMMING_MAINTAIN, false, &state->heap);
	state->shape = hamming_shape(state->index);
	state->snapshot = RegisterSnapshot(GetTransactionSnapshot());
	if (IsolationUsesXactSnapshot() && state->index->rd_index->indcheckxmin &&
		!TransactionIdPrecedes(HeapTupleHeaderGetXmin(state->index->rd_indextuple->t_data),
							   state->snapshot->xmin))
		ereport(ERROR,
				(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
				 errmsg("index \"%s\" cannot be checked with this transaction's snapshot",
						RelationGetRelationName(state->index)),
				 errhint("Check it in a new transaction.")));

	state->index_info = BuildIndexInfo(state->index);
	/* As CONCURRENTLY does, read the rows that a snapshot sees. */
	state->index_info->ii_Concurrent = true;
	state->index_info->ii_Unique = false;
	state->index_info->ii_ExclusionOps = NULL;
	state->allocated = 1024;
	state->rows = palloc(state->allocated * sizeof(Row));
	state->room = (size_t) maintenance_work_mem * 1024 / sizeof(Row);
}

static void
end_check(CheckState *state)
{
	pfree(state->rows);
	UnregisterSnapshot(state->snapshot);
	relation_close(state->index, AccessShareLock);
	table_close(state->heap, AccessShareLock);
}

/*
 * Checks all rows, a portion at a time, with a pass over the index for each.
 */
Datum
hamming_check(PG_FUNCTION_ARGS)
{
	CheckState	state = {0};
	BlockNumber next = 0;
	BlockNumber end;

	begin_check(&state, PG_GETARG_OID(0));
	end = RelationGetNumberOfBlocks(state.heap);
	do
	{
		next = read_portion(&state, next, end, 1, 0);
		check_index(&state);
	} while (next < end);
	end_check(&state);
	PG_RETURN_VOID();
}

/*
 * Checks the rows on some pages of the table, or on a sample of these pages.
 */
Datum
hamming_check_pages(PG_FUNCTION_ARGS)
{
	CheckState	state = {0};
	int64		first;
	double		sample;
	uint32		seed;
	BlockNumber end;
	BlockNumber blocks;
	BlockNumber next;
	TupleDesc	descriptor;
	Datum		values[3];
	bool		isnull[3] = {false};

	if (PG_ARGISNULL(0) || PG_ARGISNULL(1) || PG_ARGISNULL(3))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("index, first_page and sample must not be null")));
	first = PG_GETARG_INT64(1);
	sample = PG_GETARG_FLOAT8(3);
	if (first < 0 || first > MaxBlockNumber || (!PG_ARGISNULL(2) && PG_GETARG_INT32(2) < 1))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("first_page must not be negative, and pages must be positive")));
	if (isnan(sample) || sample <= 0 || sample > 1)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("sample must be greater than 0 and at most 1")));
	if (get_call_result_type(fcinfo, NULL, &descriptor) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	if (!pg_strong_random(&seed, sizeof(seed)))
		elog(ERROR, "could not generate random values");

	begin_check(&state, PG_GETARG_OID(0));
	blocks = RelationGetNumberOfBlocks(state.heap);
	end = blocks;
	if (!PG_ARGISNULL(2))
		end = Min(blocks, first + PG_GETARG_INT32(2));
	next = read_portion(&state, (BlockNumber) first, end, sample, seed);
	check_index(&state);

	values[0] = Int64GetDatum(next);
	isnull[0] = next >= blocks;
	values[1] = Int64GetDatum((int64) state.count);
	values[2] = Int64GetDatum(state.entries);
	end_check(&state);
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(descriptor), values, isnull)));
}
