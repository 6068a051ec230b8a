/*
 * VACUUM.
 *
 * Each page is compacted in place: entries never move to another page, so that no concurrent search
 * can miss one.  Empty pages are kept for new entries.
 */
#include "hamming.h"

#include "access/generic_xlog.h"
#include "commands/vacuum.h"
#include "storage/freespace.h"
#include "storage/indexfsm.h"
#include "storage/lmgr.h"

#if PG_VERSION_NUM >= 180000
#define delay_point() vacuum_delay_point(false)
#else
#define delay_point() vacuum_delay_point()
#endif

/*
 * Rewrites a data page with the entries to keep, and fits its balls to them.
 */
static void
rewrite_page(Relation index, const HammingShape *shape, Buffer buffer, const bool *keep)
{
	BlockNumber block = BufferGetBlockNumber(buffer);
	BlockNumber directory = hamming_directory_of(shape, block);
	Buffer		directory_buffer = ReadBuffer(index, directory);
	Page		old = BufferGetPage(buffer);
	int			count = HammingPageGetOpaque(old)->count;
	GenericXLogState *xlog;
	Page		page;
	HammingBalls balls;

	LockBuffer(directory_buffer, BUFFER_LOCK_EXCLUSIVE);
	hamming_verify_page(index, directory, BufferGetPage(directory_buffer), HAMMING_DIRECTORY,
						shape);

	xlog = GenericXLogStart(index);
	page = GenericXLogRegisterBuffer(xlog, buffer, 0);
	hamming_init_page(page, HAMMING_DATA, shape);
	for (int i = 0; i < count; i++)
	{
		HammingEntry entry;

		if (!keep[i])
			continue;
		hamming_page_get(old, shape, i, &entry);
		hamming_page_append(page, shape, &entry);
	}
	balls = hamming_page_balls(GenericXLogRegisterBuffer(xlog, directory_buffer, 0), shape, block);
	hamming_page_fit_balls(page, shape, &balls);
	HAMMING_INJECTION_POINT("vacuum-rewritten");
	GenericXLogFinish(xlog);
	HAMMING_INJECTION_POINT("vacuum-logged");

	UnlockReleaseBuffer(directory_buffer);
}

/*
 * Visits a data page: removes the entries that the callback, if any, reports dead, counts the rest and
 * records the free space.
 */
static void
vacuum_page(IndexVacuumInfo *info, const HammingShape *shape, BlockNumber block,
			IndexBulkDeleteCallback callback, void *callback_state, IndexBulkDeleteResult *stats)
{
	Buffer		buffer = ReadBufferExtended(info->index, MAIN_FORKNUM, block, RBM_NORMAL,
											info->strategy);
	Page		page = BufferGetPage(buffer);
	bool	   *keep = palloc(shape->capacity * sizeof(bool));
	int			count = 0;
	int			removed = 0;
	int			free_space;

	HAMMING_INJECTION_POINT("vacuum-page");
	LockBuffer(buffer, callback != NULL ? BUFFER_LOCK_EXCLUSIVE : BUFFER_LOCK_SHARE);
	if (!PageIsNew(page))
	{
		hamming_verify_page(info->index, block, page, HAMMING_DATA, shape);
		count = HammingPageGetOpaque(page)->count;
		for (int i = 0; callback != NULL && i < count; i++)
		{
			HammingEntry entry;

			hamming_page_get(page, shape, i, &entry);
			keep[i] = !callback(&entry.tid, callback_state);
			removed += !keep[i];
		}
		HAMMING_INJECTION_POINT("vacuum-judged");
		if (removed > 0)
			rewrite_page(info->index, shape, buffer, keep);
	}
	free_space = hamming_free_space(page, shape);
	UnlockReleaseBuffer(buffer);
	HAMMING_INJECTION_POINT("vacuum-page-done");

	stats->num_index_tuples += count - removed;
	stats->tuples_removed += removed;
	if (count == removed)
		stats->pages_free++;
	RecordPageWithFreeSpace(info->index, block, free_space);
	pfree(keep);
}

/*
 * Visits all data pages.  Pages added meanwhile have no rows that this VACUUM knows to be dead.
 */
static IndexBulkDeleteResult *
vacuum_pages(IndexVacuumInfo *info, IndexBulkDeleteResult *stats, IndexBulkDeleteCallback callback,
			 void *callback_state)
{
	HammingShape shape = hamming_shape(info->index);
	BlockNumber blocks = RelationGetNumberOfBlocks(info->index);

	if (stats == NULL)
		stats = palloc0(sizeof(IndexBulkDeleteResult));
	stats->estimated_count = false;
	stats->num_pages = blocks;
	stats->num_index_tuples = 0;
	stats->pages_free = 0;
	HAMMING_INJECTION_POINT("vacuum-counted");
	for (BlockNumber block = 1; block < blocks; block++)
	{
		delay_point();
		if (!hamming_is_directory(&shape, block))
			vacuum_page(info, &shape, block, callback, callback_state, stats);
	}
	HAMMING_INJECTION_POINT("vacuum-done");
	IndexFreeSpaceMapVacuum(info->index);
	return stats;
}

IndexBulkDeleteResult *
hamming_bulk_delete(IndexVacuumInfo *info, IndexBulkDeleteResult *stats,
					IndexBulkDeleteCallback callback, void *callback_state)
{
	return vacuum_pages(info, stats, callback, callback_state);
}

/*
 * Counts the entries, unless a bulk deletion has.
 */
IndexBulkDeleteResult *
hamming_vacuum_cleanup(IndexVacuumInfo *info, IndexBulkDeleteResult *stats)
{
	if (info->analyze_only || stats != NULL)
		return stats;
	return vacuum_pages(info, NULL, NULL, NULL);
}
