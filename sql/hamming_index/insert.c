/*
 * Insertion.
 *
 * An entry goes to the page of the last insertion, else to one with free space, else to a new one
 * at the end.  The data page stays locked while its bounds are looked at and widened, so that they
 * change under its lock alone; locks are taken in the order data page, directory page.  If the bounds
 * were read before the data page is locked, VACUUM could shrink them in between, and searches would
 * skip a page that holds the new entry.
 *
 * Generic WAL finds what has changed by comparing all of a page, which takes longer than the whole
 * insertion into a btree.  Where nothing but an entry is added we know what changes, and write the
 * same record ourselves; see generic_xlog.c for its format, the same in PostgreSQL 9.6 to 18.
 */
#include "hamming.h"

#include "access/generic_xlog.h"
#include "access/rmgr.h"
#include "access/xloginsert.h"
#include "miscadmin.h"
#include "storage/freespace.h"
#include "storage/lmgr.h"

/*
 * Refuses a zeroed directory page, locked exclusively, unless the data pages after it are zeroed
 * too, as a crash leaves them: to begin it anew would hide the entries of the others.
 *
 * The data pages are not locked: as long as the directory page is zeroed, none of them is written
 * without its lock.
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
 * The directory page of a data page, locked exclusively, when it has to be changed for the entry to
 * be bounded; else InvalidBuffer.
 */
static Buffer
lock_directory_to_extend(Relation index, const HammingShape *shape, BlockNumber block, bool is_new,
						 const HammingEntry *entry)
{
	BlockNumber directory = hamming_directory_of(shape, block);
	Buffer		buffer = ReadBuffer(index, directory);
	Page		page = BufferGetPage(buffer);

	LockBuffer(buffer, BUFFER_LOCK_SHARE);
	if (!PageIsNew(page))
	{
		HammingBalls balls;

		hamming_verify_page(index, directory, page, HAMMING_DIRECTORY, shape);
		balls = hamming_page_balls(page, shape, block);
		/* A zeroed page that has balls had entries, which are lost. */
		if (is_new && hamming_balls_in_use(&balls))
			hamming_report_corruption(index, block);
		if (entry->is_null ? hamming_balls_in_use(&balls) : hamming_balls_cover(&balls, entry->code))
		{
			UnlockReleaseBuffer(buffer);
			HAMMING_POINT("insert-covered");
			return InvalidBuffer;
		}
	}
	LockBuffer(buffer, BUFFER_LOCK_UNLOCK);
	HAMMING_POINT("insert-directory-unlocked");
	LockBuffer(buffer, BUFFER_LOCK_EXCLUSIVE);
	if (PageIsNew(page))
		check_new_directory(index, shape, directory);
	return buffer;
}

/* Fragments of a record: those of the page header, the TID and the special space, and one a word. */
#define MAX_FRAGMENTS (3 + HAMMING_MAX_WORDS)
#define MAX_FRAGMENT (2 * sizeof(OffsetNumber) + 8)

typedef struct Delta
{
	char		data[MAX_FRAGMENTS * MAX_FRAGMENT];
	int			length;
} Delta;

static void
add_fragment(Delta *delta, Page page, const void *changed, OffsetNumber length)
{
	OffsetNumber offset = (const char *) changed - (const char *) page;

	memcpy(delta->data + delta->length, &offset, sizeof(offset));
	delta->length += sizeof(offset);
	memcpy(delta->data + delta->length, &length, sizeof(length));
	delta->length += sizeof(length);
	memcpy(delta->data + delta->length, changed, length);
	delta->length += length;
}

/*
 * Appends an entry that the bounds of its page cover.
 */
static void
append_covered(Relation index, const HammingShape *shape, Buffer buffer, const HammingEntry *entry)
{
	Page		page = BufferGetPage(buffer);
	HammingPageOpaqueData *opaque = HammingPageGetOpaque(page);
	int			at = opaque->count;

	START_CRIT_SECTION();
	hamming_page_append(page, shape, entry);
	MarkBufferDirty(buffer);
	HAMMING_POINT("insert-changed");
	if (RelationNeedsWAL(index))
	{
		PageHeader	header = (PageHeader) page;
		const uint64 *word = HammingPageGetCodes(page) +
			at / HAMMING_LANES * HAMMING_LANES * shape->words + at % HAMMING_LANES;
		Delta		delta = {.length = 0};
		XLogRecPtr	lsn;

		add_fragment(&delta, page, &header->pd_lower,
					 sizeof(header->pd_lower) + sizeof(header->pd_upper));
		for (int i = 0; i < shape->words; i++)
			add_fragment(&delta, page, word + i * HAMMING_LANES, sizeof(uint64));
		add_fragment(&delta, page, hamming_page_tid(page, at), sizeof(ItemPointerData));
		add_fragment(&delta, page, &opaque->count, sizeof(opaque->count));

		XLogBeginInsert();
		XLogRegisterBuffer(0, buffer, REGBUF_STANDARD);
		XLogRegisterBufData(0, delta.data, delta.length);
		lsn = XLogInsert(RM_GENERIC_ID, 0);
		PageSetLSN(page, lsn);
	}
	END_CRIT_SECTION();
}

/*
 * Appends an entry where one of the pages is new or the bounds have to be widened.
 *
 * Either page may be new: a crash after the file grew leaves zeroed pages.
 */
static void
append_uncovered(Relation index, const HammingShape *shape, Buffer buffer,
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
	if (entry->is_null)
		hamming_balls_mark(&balls);
	else
		hamming_balls_extend(&balls, entry->code);
	HAMMING_POINT("insert-widened");
	if (is_new)
		HAMMING_POINT("insert-new-page");
	GenericXLogFinish(xlog);
}

/*
 * Inserts the entry on a data page; false when that is full.
 */
static bool
insert_on_page(Relation index, const HammingShape *shape, BlockNumber block,
			   const HammingEntry *entry)
{
	Buffer		buffer = ReadBuffer(index, block);
	Page		page = BufferGetPage(buffer);
	Buffer		directory;

	HAMMING_POINT("insert-page");
	LockBuffer(buffer, BUFFER_LOCK_EXCLUSIVE);
	HAMMING_POINT("insert-page-locked");
	if (!PageIsNew(page))
	{
		hamming_verify_page(index, block, page, HAMMING_DATA, shape);
		if (HammingPageGetOpaque(page)->count == shape->capacity)
		{
			UnlockReleaseBuffer(buffer);
			return false;
		}
	}
	directory = lock_directory_to_extend(index, shape, block, PageIsNew(page), entry);
	if (BufferIsValid(directory))
		append_uncovered(index, shape, buffer, directory, entry);
	else
		append_covered(index, shape, buffer, entry);

	HAMMING_POINT("insert-logged");
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
		HAMMING_POINT("insert-extended");
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
	BlockNumber block;

	HAMMING_POINT("insert-page-full");
	block = RecordAndGetPageWithFreeSpace(index, full, 0, needed);

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
	HammingShape shape = hamming_shape(index);
	BlockNumber block = RelationGetTargetBlock(index);
	HammingEntry entry;

	entry.tid = *heap_tid;
	entry.is_null = isnull[0];
	if (!entry.is_null)
		hamming_read_code(values[0], &shape, entry.code);

	if (block == InvalidBlockNumber)
		block = last_page_but(index, &shape, InvalidBlockNumber);
	while (!insert_on_page(index, &shape, block, &entry))
		block = page_after(index, &shape, block);
	RelationSetTargetBlock(index, block);
	HAMMING_POINT("insert-done");
	return false;
}
