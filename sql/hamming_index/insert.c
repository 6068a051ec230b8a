/*
 * Insertion.
 *
 * An entry goes to the page of the backend's last insertion, else to one with free space, else to a
 * new one at the end.  Lock order: data page, directory page.  The data page stays locked while its
 * balls are read and widened.  If they were read earlier, VACUUM could shrink them in between, and
 * searches would skip a page that holds the new entry.
 *
 * The first codes on a page take all of its balls, and the next ones widen these.  So the entry that
 * fills the page fits the balls anew: insertions in an order of similar codes make pages as tight as a
 * build's.
 *
 * Generic WAL finds changes by comparing the whole page, which takes longer than an insertion into a
 * btree.  If an entry is only appended we know the changed bytes and write the same record
 * ourselves; see generic_xlog.c for its format, the same in PostgreSQL 9.6 to 18.
 */
#include "hamming.h"

#include "access/generic_xlog.h"
#include "access/rmgr.h"
#include "access/xloginsert.h"
#include "miscadmin.h"
#include "storage/freespace.h"
#include "storage/lmgr.h"

/*
 * Reports a zeroed directory page, locked exclusively, as corruption unless the data pages after it
 * are zeroed too, as after a crash.  Initializing it would hide entries on the others.
 *
 * The data pages need no lock: while the directory page is zeroed, writing one requires its lock.
 */
static void
check_new_directory(Relation index, const HammingShape *shape, BlockNumber directory)
{
	BlockNumber end = Min(RelationGetNumberOfBlocks(index), directory + 1 + shape->span);

	for (BlockNumber block = directory + 1; block < end; block++)
	{
		Buffer		buffer = ReadBuffer(index, block);

		if (!PageIsNew(BufferGetPage(buffer)))
			hamming_report_corruption(index, directory);
		ReleaseBuffer(buffer);
	}
}

/*
 * Returns the directory page of a data page, locked exclusively, if it must change to bound the
 * entry, or the entry fills the page; else InvalidBuffer.
 */
static Buffer
lock_directory_to_change(Relation index, const HammingShape *shape, Buffer data,
						 const HammingEntry *entry)
{
	BlockNumber block = BufferGetBlockNumber(data);
	bool		is_new = PageIsNew(BufferGetPage(data));
	bool		is_last = !is_new &&
		HammingPageGetOpaque(BufferGetPage(data))->count == shape->capacity - 1;
	BlockNumber directory = hamming_directory_of(shape, block);
	Buffer		buffer = ReadBuffer(index, directory);
	Page		page = BufferGetPage(buffer);

	LockBuffer(buffer, BUFFER_LOCK_SHARE);
	if (!PageIsNew(page))
	{
		HammingBalls balls;

		hamming_verify_page(index, directory, page, HAMMING_DIRECTORY, shape);
		balls = hamming_page_balls(page, shape, block);
		/* A zeroed page with balls has lost its entries. */
		if (is_new && hamming_balls_in_use(&balls))
			hamming_report_corruption(index, block);
		if (!is_last &&
			(entry->is_null ? hamming_balls_in_use(&balls) : hamming_balls_cover(&balls, entry->code)))
		{
			UnlockReleaseBuffer(buffer);
			HAMMING_INJECTION_POINT("insert-covered");
			return InvalidBuffer;
		}
	}
	LockBuffer(buffer, BUFFER_LOCK_UNLOCK);
	HAMMING_INJECTION_POINT("insert-directory-unlocked");
	LockBuffer(buffer, BUFFER_LOCK_EXCLUSIVE);
	if (PageIsNew(page))
		check_new_directory(index, shape, directory);
	return buffer;
}

/*
 * Writes the generic WAL record of an appended entry: offset, length and content of each range.
 */
static void
log_append(Page page, const HammingShape *shape, Buffer buffer)
{
	HammingRange ranges[HAMMING_MAX_RANGES];
	char		delta[HAMMING_MAX_RANGES * (sizeof(HammingRange) + sizeof(uint64))];
	int			count = hamming_page_appended(page, shape, ranges);
	char	   *end = delta;

	for (int i = 0; i < count; i++)
	{
		memcpy(end, &ranges[i], sizeof(HammingRange));
		end += sizeof(HammingRange);
		memcpy(end, (char *) page + ranges[i].offset, ranges[i].length);
		end += ranges[i].length;
	}
	XLogBeginInsert();
	XLogRegisterBuffer(0, buffer, REGBUF_STANDARD);
	XLogRegisterBufData(0, delta, end - delta);
	PageSetLSN(page, XLogInsert(RM_GENERIC_ID, 0));
}

/*
 * Appends an entry that the balls of its page cover.
 */
static void
append_covered(Relation index, const HammingShape *shape, Buffer buffer, const HammingEntry *entry)
{
	Page		page = BufferGetPage(buffer);

	START_CRIT_SECTION();
	hamming_page_append(page, shape, entry);
	MarkBufferDirty(buffer);
	HAMMING_INJECTION_POINT("insert-changed");
	if (RelationNeedsWAL(index))
		log_append(page, shape, buffer);
	END_CRIT_SECTION();
}

/*
 * Appends an entry and widens the balls of its page; if the page is full then, fits them.
 *
 * Either page may be new: a crash after an extension leaves zeroed pages.
 */
static void
append_and_bound(Relation index, const HammingShape *shape, Buffer buffer,
				 Buffer directory_buffer, const HammingEntry *entry)
{
	bool		is_new = PageIsNew(BufferGetPage(buffer));
	GenericXLogState *xlog = GenericXLogStart(index);
	Page		page = GenericXLogRegisterBuffer(xlog, buffer,
												 is_new ? GENERIC_XLOG_FULL_IMAGE : 0);
	bool		is_new_directory = PageIsNew(BufferGetPage(directory_buffer));
	Page		directory = GenericXLogRegisterBuffer(xlog, directory_buffer,
													  is_new_directory ? GENERIC_XLOG_FULL_IMAGE : 0);
	HammingBalls balls;

	if (is_new)
		hamming_init_page(page, HAMMING_DATA, shape);
	hamming_page_append(page, shape, entry);
	if (is_new_directory)
		hamming_init_page(directory, HAMMING_DIRECTORY, shape);
	balls = hamming_page_balls(directory, shape, BufferGetBlockNumber(buffer));
	if (HammingPageGetOpaque(page)->count == shape->capacity)
		hamming_page_fit_balls(page, shape, &balls);
	else if (entry->is_null)
		hamming_balls_ensure(&balls);
	else
		hamming_balls_extend(&balls, entry->code);
	HAMMING_INJECTION_POINT("insert-widened");
	if (is_new)
		HAMMING_INJECTION_POINT("insert-new-page");
	GenericXLogFinish(xlog);
}

/*
 * Inserts the entry on a data page; returns false if the page is full.
 */
static bool
insert_on_page(Relation index, const HammingShape *shape, BlockNumber block,
			   const HammingEntry *entry)
{
	Buffer		buffer = ReadBuffer(index, block);
	Page		page = BufferGetPage(buffer);
	Buffer		directory;

	HAMMING_INJECTION_POINT("insert-page");
	LockBuffer(buffer, BUFFER_LOCK_EXCLUSIVE);
	HAMMING_INJECTION_POINT("insert-page-locked");
	if (!PageIsNew(page))
	{
		hamming_verify_page(index, block, page, HAMMING_DATA, shape);
		if (HammingPageGetOpaque(page)->count == shape->capacity)
		{
			UnlockReleaseBuffer(buffer);
			return false;
		}
	}
	directory = lock_directory_to_change(index, shape, buffer, entry);
	if (BufferIsValid(directory))
		append_and_bound(index, shape, buffer, directory, entry);
	else
		append_covered(index, shape, buffer, entry);

	HAMMING_INJECTION_POINT("insert-logged");
	if (BufferIsValid(directory))
		UnlockReleaseBuffer(directory);
	UnlockReleaseBuffer(buffer);
	return true;
}

static bool
is_data_block(const HammingShape *shape, BlockNumber block, BlockNumber blocks)
{
	return block != HAMMING_METAPAGE && block < blocks && !hamming_is_directory(shape, block);
}

/*
 * Returns the last data page; extends the file if that page is full, or if there is none.
 */
static BlockNumber
last_data_page(Relation index, const HammingShape *shape, BlockNumber full)
{
	BlockNumber blocks = RelationGetNumberOfBlocks(index);

	while (!is_data_block(shape, blocks - 1, blocks) || blocks - 1 == full)
	{
		LockRelationForExtension(index, ExclusiveLock);
		/* Another backend may have extended it. */
		if (RelationGetNumberOfBlocks(index) == blocks)
			ReleaseBuffer(ReadBuffer(index, P_NEW));
		UnlockRelationForExtension(index, ExclusiveLock);
		HAMMING_INJECTION_POINT("insert-extended");
		blocks = RelationGetNumberOfBlocks(index);
	}
	return blocks - 1;
}

/*
 * Returns the page to try after a full one.
 */
static BlockNumber
page_after(Relation index, const HammingShape *shape, BlockNumber full)
{
	Size		needed = shape->words * sizeof(uint64) + sizeof(ItemPointerData);
	BlockNumber block;

	HAMMING_INJECTION_POINT("insert-page-full");
	block = RecordAndGetPageWithFreeSpace(index, full, 0, needed);

	/* The map is not crash-safe. */
	if (block != InvalidBlockNumber &&
		is_data_block(shape, block, RelationGetNumberOfBlocks(index)))
		return block;
	return last_data_page(index, shape, full);
}

bool
hamming_insert(Relation index, Datum *values, bool *isnull, ItemPointer heap_tid, Relation heap,
			   IndexUniqueCheck check_unique, bool index_unchanged, IndexInfo *index_info)
{
	HammingShape shape = hamming_shape(index);
	BlockNumber block = RelationGetTargetBlock(index);
	HammingEntry entry;

	entry.tid = *heap_tid;
	entry.is_null = isnull[0];
	if (!entry.is_null)
		hamming_read_code(values[0], &shape, entry.code);

	if (block == InvalidBlockNumber)
		block = last_data_page(index, &shape, InvalidBlockNumber);
	while (!insert_on_page(index, &shape, block, &entry))
		block = page_after(index, &shape, block);
	RelationSetTargetBlock(index, block);
	HAMMING_INJECTION_POINT("insert-done");
	return false;
}
