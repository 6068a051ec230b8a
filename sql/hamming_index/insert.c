/*
 * Insertion.
 *
 * An entry goes to the page of the last insertion, else to one with free space, else to a new one
 * at the end.  The data page stays locked while its bounds are looked at and widened, so that they
 * change under its lock alone; locks are taken in the order data page, directory page.
 */
#include "hamming.h"

#include "access/generic_xlog.h"
#include "storage/freespace.h"
#include "storage/lmgr.h"

/*
 * The directory page of a data page, locked exclusively, when it has to be changed for the entry to
 * be bounded; else InvalidBuffer.
 */
static Buffer
lock_directory_to_extend(Relation index, const HammingShape *shape, BlockNumber block,
						 const HammingEntry *entry)
{
	BlockNumber directory = hamming_directory_of(shape, block);
	Buffer		buffer = ReadBuffer(index, directory);
	Page		page = BufferGetPage(buffer);

	LockBuffer(buffer, BUFFER_LOCK_SHARE);
	if (!PageIsNew(page))
	{
		HammingBalls balls = hamming_page_balls(page, shape, block);

		hamming_verify_page(index, directory, page, HAMMING_DIRECTORY, shape);
		if (entry->is_null || hamming_balls_cover(&balls, entry->code))
		{
			UnlockReleaseBuffer(buffer);
			return InvalidBuffer;
		}
	}
	LockBuffer(buffer, BUFFER_LOCK_UNLOCK);
	LockBuffer(buffer, BUFFER_LOCK_EXCLUSIVE);
	return buffer;
}

/*
 * Inserts the entry on a data page; false when that is full.
 *
 * Either page may be new: a crash after the file grew leaves zeroed pages.
 */
static bool
insert_on_page(Relation index, const HammingShape *shape, BlockNumber block,
			   const HammingEntry *entry)
{
	Buffer		buffer = ReadBuffer(index, block);
	Page		page = BufferGetPage(buffer);
	Buffer		directory_buffer;
	GenericXLogState *xlog;
	bool		is_new;

	LockBuffer(buffer, BUFFER_LOCK_EXCLUSIVE);
	is_new = PageIsNew(page);
	if (!is_new)
	{
		hamming_verify_page(index, block, page, HAMMING_DATA, shape);
		if (HammingPageGetOpaque(page)->count == shape->capacity)
		{
			UnlockReleaseBuffer(buffer);
			return false;
		}
	}
	directory_buffer = lock_directory_to_extend(index, shape, block, entry);

	xlog = GenericXLogStart(index);
	page = GenericXLogRegisterBuffer(xlog, buffer, is_new ? GENERIC_XLOG_FULL_IMAGE : 0);
	if (is_new)
		hamming_init_page(page, HAMMING_DATA, shape);
	hamming_page_append(page, shape, entry);
	if (BufferIsValid(directory_buffer))
	{
		bool		is_new_directory = PageIsNew(BufferGetPage(directory_buffer));
		Page		directory = GenericXLogRegisterBuffer(xlog, directory_buffer,
														  is_new_directory ? GENERIC_XLOG_FULL_IMAGE : 0);
		HammingBalls balls;

		if (is_new_directory)
			hamming_init_page(directory, HAMMING_DIRECTORY, shape);
		balls = hamming_page_balls(directory, shape, block);
		if (!entry->is_null)
			hamming_balls_extend(&balls, entry->code);
	}
	GenericXLogFinish(xlog);

	if (BufferIsValid(directory_buffer))
		UnlockReleaseBuffer(directory_buffer);
	UnlockReleaseBuffer(buffer);
	return true;
}

static bool
is_data_block(const HammingShape *shape, BlockNumber block, BlockNumber blocks)
{
	return block != HAMMING_METAPAGE && block < blocks && !hamming_is_directory(shape, block);
}

/*
 * The last data page; the file grows if that is the one known to be full, or if there is none.
 */
static BlockNumber
last_page_but(Relation index, const HammingShape *shape, BlockNumber full)
{
	BlockNumber blocks = RelationGetNumberOfBlocks(index);

	while (!is_data_block(shape, blocks - 1, blocks) || blocks - 1 == full)
	{
		LockRelationForExtension(index, ExclusiveLock);
		/* Another backend may have been faster. */
		if (RelationGetNumberOfBlocks(index) == blocks)
			ReleaseBuffer(ReadBuffer(index, P_NEW));
		UnlockRelationForExtension(index, ExclusiveLock);
		blocks = RelationGetNumberOfBlocks(index);
	}
	return blocks - 1;
}

/*
 * Where to try next after a page turned out to be full.
 */
static BlockNumber
page_after(Relation index, const HammingShape *shape, BlockNumber full)
{
	Size		needed = shape->words * sizeof(uint64) + sizeof(ItemPointerData);
	BlockNumber block = RecordAndGetPageWithFreeSpace(index, full, 0, needed);

	/* The map is not crash-safe. */
	if (block != InvalidBlockNumber &&
		is_data_block(shape, block, RelationGetNumberOfBlocks(index)))
		return block;
	return last_page_but(index, shape, full);
}

bool
hamming_insert(Relation index, Datum *values, bool *isnull, ItemPointer heap_tid, Relation heap,
			   IndexUniqueCheck check_unique, bool index_unchanged, IndexInfo *index_info)
{
	const HammingShape *shape = hamming_shape(index);
	BlockNumber block = RelationGetTargetBlock(index);
	HammingEntry entry;

	entry.tid = *heap_tid;
	entry.is_null = isnull[0];
	if (!entry.is_null)
		hamming_read_code(values[0], shape, entry.code);

	if (block == InvalidBlockNumber)
		block = last_page_but(index, shape, InvalidBlockNumber);
	while (!insert_on_page(index, shape, block, &entry))
		block = page_after(index, shape, block);
	RelationSetTargetBlock(index, block);
	return false;
}
