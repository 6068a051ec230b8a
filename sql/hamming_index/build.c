/*
 * CREATE INDEX.
 *
 * Collects the codes in memory, orders them so that similar codes share pages, and writes the pages.
 * If the codes exceed maintenance_work_mem, this is done in runs, each with its own pages; if not,
 * parallel workers may help.  Pages are written through shared buffers, so that they are cached for
 * queries, and logged at the end.
 */
#include "hamming.h"

#include "access/generic_xlog.h"
#include "access/tableam.h"
#include "access/xloginsert.h"
#include "catalog/index.h"
#include "commands/progress.h"
#include "miscadmin.h"
#include "nodes/execnodes.h"
#include "pgstat.h"
#include "utils/memutils.h"

#include "bisect.h"
#include "order.h"
#include "parallel.h"

#define PHASE_SCAN 2
#define PHASE_ORDER 3
#define PHASE_WRITE 4

#define FIRST_RECORDS 1024

typedef struct BuildState
{
	Relation	index;
	HammingShape shape;
	int64		index_tuples;

	/* The current run: records of a code and a TID as a number. */
	uint64	   *records;
	size_t		count;
	size_t		allocated;
	size_t		max_count;		/* records that fit in maintenance_work_mem */

	/* TIDs of nulls, up to a page of them. */
	uint64	   *nulls;
	int			null_count;

	Buffer		directory;		/* of the last page written; pinned */
} BuildState;

static void
pause_build(void)
{
	CHECK_FOR_INTERRUPTS();
}

static Buffer
new_page(Relation index, HammingPageKind kind, const HammingShape *shape)
{
	Buffer		buffer = hamming_new_buffer(index, MAIN_FORKNUM);

	LockBuffer(buffer, BUFFER_LOCK_EXCLUSIVE);
	hamming_init_page(BufferGetPage(buffer), kind, shape);
	MarkBufferDirty(buffer);
	return buffer;
}

/*
 * Returns a new data page, locked; adds a directory page first, pinned, if a new span begins.
 */
static Buffer
new_data_page(BuildState *state)
{
	if (hamming_is_directory(&state->shape, RelationGetNumberOfBlocks(state->index)))
	{
		if (BufferIsValid(state->directory))
			ReleaseBuffer(state->directory);
		state->directory = new_page(state->index, HAMMING_DIRECTORY, &state->shape);
		LockBuffer(state->directory, BUFFER_LOCK_UNLOCK);
	}
	return new_page(state->index, HAMMING_DATA, &state->shape);
}

/*
 * Writes a page of records, and its balls.
 */
static void
write_page(BuildState *state, const HammingRecords *records)
{
	Buffer		buffer = new_data_page(state);
	HammingEntry entry = {.is_null = false};
	HammingBalls balls;

	LockBuffer(state->directory, BUFFER_LOCK_EXCLUSIVE);
	balls = hamming_page_balls(BufferGetPage(state->directory), &state->shape,
							   BufferGetBlockNumber(buffer));
	hamming_find_balls(records, &balls);
	HAMMING_INJECTION_POINT("build-page");
	MarkBufferDirty(state->directory);
	LockBuffer(state->directory, BUFFER_LOCK_UNLOCK);

	for (size_t i = 0; i < records->count; i++)
	{
		const uint64 *record = hamming_record(records, i);

		memcpy(entry.code, record, records->words * sizeof(uint64));
		hamming_tid_of_number(record[records->words], &entry.tid);
		hamming_page_append(BufferGetPage(buffer), &state->shape, &entry);
	}
	UnlockReleaseBuffer(buffer);
}

static void
write_pages(BuildState *state, const HammingRecords *records)
{
	size_t		capacity = state->shape.capacity;

	pgstat_progress_update_param(PROGRESS_CREATEIDX_SUBPHASE, PHASE_WRITE);
	HAMMING_INJECTION_POINT("build-ordered");
	for (size_t first = 0; first < records->count; first += capacity)
	{
		HammingRecords page = hamming_slice(records, first, Min(records->count - first, capacity));

		CHECK_FOR_INTERRUPTS();
		write_page(state, &page);
		state->index_tuples += page.count;
		pgstat_progress_update_param(PROGRESS_CREATEIDX_TUPLES_DONE, state->index_tuples);
	}
}

static void
write_run(BuildState *state)
{
	HammingWorkspace *workspace = palloc(sizeof(HammingWorkspace));
	HammingRecords run = {
		.records = state->records,
		.count = state->count,
		.words = state->shape.words,
		.scratch = MemoryContextAllocHuge(CurrentMemoryContext,
										  state->count * sizeof(int16) + 1),
	};

	pgstat_progress_update_param(PROGRESS_CREATEIDX_SUBPHASE, PHASE_ORDER);
	hamming_order(&run, state->shape.capacity, workspace, pause_build);
	write_pages(state, &run);
	pgstat_progress_update_param(PROGRESS_CREATEIDX_SUBPHASE, PHASE_SCAN);
	pfree(run.scratch);
	pfree(workspace);
	state->count = 0;
}

static void
write_nulls(BuildState *state)
{
	HammingEntry entry = {.is_null = true};
	Buffer		buffer;
	HammingBalls balls;

	if (state->null_count == 0)
		return;
	buffer = new_data_page(state);
	LockBuffer(state->directory, BUFFER_LOCK_EXCLUSIVE);
	balls = hamming_page_balls(BufferGetPage(state->directory), &state->shape,
							   BufferGetBlockNumber(buffer));
	hamming_balls_ensure(&balls);
	MarkBufferDirty(state->directory);
	LockBuffer(state->directory, BUFFER_LOCK_UNLOCK);
	for (int i = 0; i < state->null_count; i++)
	{
		hamming_tid_of_number(state->nulls[i], &entry.tid);
		hamming_page_append(BufferGetPage(buffer), &state->shape, &entry);
	}
	UnlockReleaseBuffer(buffer);
	state->index_tuples += state->null_count;
	state->null_count = 0;
}

static void
add_null(BuildState *state, uint64 tid)
{
	state->nulls[state->null_count++] = tid;
	if (state->null_count == state->shape.capacity)
		write_nulls(state);
}

static void
ensure_room(BuildState *state)
{
	size_t		bytes = (state->shape.words + 1) * sizeof(uint64);

	if (state->count == state->max_count)
		write_run(state);
	if (state->count == state->allocated)
	{
		state->allocated = Min(2 * state->allocated, state->max_count);
		state->records = repalloc_huge(state->records, state->allocated * bytes);
	}
}

static void
add_row(Relation index, ItemPointer tid, Datum *values, bool *isnull, bool tuple_is_alive,
		void *callback_state)
{
	BuildState *state = callback_state;
	uint64	   *record;

	if (isnull[0])
	{
		add_null(state, hamming_tid_number(tid));
		return;
	}
	ensure_room(state);
	record = state->records + state->count * (state->shape.words + 1);
	hamming_read_code(values[0], &state->shape, record);
	record[state->shape.words] = hamming_tid_number(tid);
	state->count++;
}

static void
begin_build(BuildState *state, Relation index)
{
	size_t		bytes;

	state->index = index;
	state->shape = hamming_shape_of_bits(hamming_column_bits(index));
	state->index_tuples = 0;
	bytes = (state->shape.words + 1) * sizeof(uint64);
	state->max_count = (size_t) maintenance_work_mem * 1024 / (bytes + sizeof(int16));
	state->max_count = Max(state->max_count, FIRST_RECORDS);
	state->count = 0;
	state->allocated = FIRST_RECORDS;
	state->records = palloc(state->allocated * bytes);
	state->nulls = palloc(state->shape.capacity * sizeof(uint64));
	state->null_count = 0;
	state->directory = InvalidBuffer;
}

/*
 * Builds with parallel workers; returns false if that is not possible.
 */
static bool
build_parallel(BuildState *state, Relation heap, IndexInfo *index_info, double *heap_tuples)
{
	HammingWorkspace *workspace = palloc(sizeof(HammingWorkspace));
	HammingRecords records;
	HammingRecords nulls;
	HammingParallel *parallel = hamming_parallel_build(heap, state->index, index_info,
													   &state->shape, state->max_count, workspace,
													   pause_build, &records, &nulls,
													   heap_tuples);

	pfree(workspace);
	if (parallel == NULL)
		return false;
	write_pages(state, &records);
	for (size_t i = 0; i < nulls.count; i++)
		add_null(state, hamming_record(&nulls, i)[nulls.words] & ~(uint64) HAMMING_NULL_FLAG);
	hamming_parallel_end(parallel);
	return true;
}

IndexBuildResult *
hamming_build(Relation heap, Relation index, IndexInfo *index_info)
{
	IndexBuildResult *result = palloc(sizeof(IndexBuildResult));
	BuildState	state;
	Buffer		metapage;

	if (RelationGetNumberOfBlocks(index) != 0)
		elog(ERROR, "index \"%s\" already contains data", RelationGetRelationName(index));

	begin_build(&state, index);
	metapage = hamming_new_buffer(index, MAIN_FORKNUM);
	LockBuffer(metapage, BUFFER_LOCK_EXCLUSIVE);
	hamming_init_metapage(BufferGetPage(metapage), state.shape.bits);
	MarkBufferDirty(metapage);
	UnlockReleaseBuffer(metapage);
	HAMMING_INJECTION_POINT("build-metapage");

	pgstat_progress_update_param(PROGRESS_CREATEIDX_SUBPHASE, PHASE_SCAN);
	if (!build_parallel(&state, heap, index_info, &result->heap_tuples))
	{
		result->heap_tuples = table_index_build_scan(heap, index, index_info, true, true, add_row,
													 &state, NULL);
		write_run(&state);
	}
	write_nulls(&state);
	if (BufferIsValid(state.directory))
		ReleaseBuffer(state.directory);
	HAMMING_INJECTION_POINT("build-written");
	if (RelationNeedsWAL(index))
		log_newpage_range(index, MAIN_FORKNUM, 0, RelationGetNumberOfBlocks(index), true);
	HAMMING_INJECTION_POINT("build-logged");

	pfree(state.records);
	pfree(state.nulls);
	result->index_tuples = state.index_tuples;
	return result;
}

/*
 * Writes the init fork, to which an unlogged index is reset after a crash.
 */
void
hamming_build_empty(Relation index)
{
	int			bits = hamming_column_bits(index);
	Buffer		buffer = hamming_new_buffer(index, INIT_FORKNUM);

	LockBuffer(buffer, BUFFER_LOCK_EXCLUSIVE);
	START_CRIT_SECTION();
	hamming_init_metapage(BufferGetPage(buffer), bits);
	MarkBufferDirty(buffer);
	log_newpage_buffer(buffer, true);
	END_CRIT_SECTION();
	UnlockReleaseBuffer(buffer);
}

char *
hamming_build_phase_name(int64 phase)
{
	switch (phase)
	{
		case PROGRESS_CREATEIDX_SUBPHASE_INITIALIZE:
			return "initializing";
		case PHASE_SCAN:
			return "scanning table";
		case PHASE_ORDER:
			return "ordering codes";
		case PHASE_WRITE:
			return "writing pages";
		default:
			return NULL;
	}
}
