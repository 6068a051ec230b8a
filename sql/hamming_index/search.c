/*
 * Search: returns the entries in ascending order of (distance, TID), a batch at a time.
 *
 * The bounds of all pages are read once.  A pass then visits pages in ascending order of their
 * bounds, keeps the nearest entries after the last one returned, and ends when the bounds exceed the
 * distance of the farthest entry kept.  The next pass keeps several times as many.
 *
 * No pin is held between pages or calls, so only MVCC snapshots may be used.  An entry that such a
 * snapshot sees was on its page, and bounded, before the search began.  It stays on that page, and
 * the bound that was read remains valid for it, whatever insertions and VACUUM do meanwhile.
 */
#include "hamming.h"

#include "miscadmin.h"
#include "utils/memutils.h"

/* Entries that the first pass keeps by default, and the factor for each next pass. */
#define FIRST_BATCH 64
#define BATCH_GROWTH 8

/* Cache lines to prefetch at the start of a page; the processor prefetches the rest. */
#define PREFETCH_LINES 8

/* The distance of nulls, and the bound of pages without codes, exceed that of any code. */
#define NULL_DISTANCE(shape) ((shape)->bits + 1)

typedef struct PageBound
{
	BlockNumber block;
	uint16		bound;
	bool		has_entries;	/* according to the directory page */
} PageBound;

struct HammingSearch
{
	Relation	index;
	HammingShape shape;
	MemoryContext context;		/* reset by every start */
	const HammingTidSet *selected;	/* the entries to search among, or NULL for all */
	int			first_batch;	/* entries that the first pass keeps */

	bool		has_query;		/* if not, all entries are equal */
	uint64		query[HAMMING_MAX_WORDS];

	PageBound  *pages;			/* in ascending order of bound */
	BlockNumber page_count;
	BlockNumber visited;		/* pages of the latest pass */

	uint64	   *keys;			/* the batch; up to twice as many while collecting */
	int			batch;
	int			key_count;
	int			key_next;
	uint64		last;			/* key returned last, or 0 */
	bool		exhausted;

	HammingHit *hits;
	uint64	   *page_keys;
};

#define ST_SORT hamming_sort_keys
#define ST_ELEMENT_TYPE uint64
#define ST_COMPARE(a, b) (*(a) < *(b) ? -1 : *(a) > *(b))
#define ST_CHECK_FOR_INTERRUPTS
#define ST_SCOPE
#define ST_DEFINE
#include "lib/sort_template.h"

HammingSearch *
hamming_search_create(Relation index)
{
	HammingSearch *search = palloc0(sizeof(HammingSearch));

	search->index = index;
	search->shape = hamming_shape(index);
	search->context = AllocSetContextCreate(CurrentMemoryContext, "hamming index search",
											ALLOCSET_DEFAULT_SIZES);
	search->hits = palloc(Max(search->shape.capacity, search->shape.span * search->shape.balls) *
						  sizeof(HammingHit));
	search->page_keys = palloc(search->shape.capacity * sizeof(uint64));
	search->first_batch = FIRST_BATCH;
	return search;
}

void
hamming_search_free(HammingSearch *search)
{
	MemoryContextDelete(search->context);
	pfree(search->hits);
	pfree(search->page_keys);
	pfree(search);
}

/*
 * Restricts the search to selected entries from its next start on.  expected is the number that the
 * caller will ask for: keeping more would delay the end of a pass.
 */
void
hamming_search_among(HammingSearch *search, const HammingTidSet *selected, int expected)
{
	search->selected = selected;
	search->first_batch = Min(Max(expected, 1), FIRST_BATCH * BATCH_GROWTH);
}

/*
 * Reads lower bounds of the distances on the data pages of a directory page.  Returns how many of
 * these pages the file has.
 */
static int
read_bounds(HammingSearch *search, BlockNumber directory, BlockNumber blocks, PageBound *pages)
{
	const HammingShape *shape = &search->shape;
	int			count = Min((BlockNumber) shape->span, blocks - directory - 1);
	int			balls = shape->span * shape->balls;
	Buffer		buffer = ReadBuffer(search->index, directory);
	Page		page = BufferGetPage(buffer);

	for (int i = 0; i < shape->span; i++)
		pages[i] = (PageBound) {directory + 1 + i, NULL_DISTANCE(shape), false};

	HAMMING_INJECTION_POINT("search-directory");
	LockBuffer(buffer, BUFFER_LOCK_SHARE);
	if (PageIsNew(page))
	{
		/* Zeroed by a crash before it had entries, or lost: visit all of its pages. */
		for (int i = 0; i < count; i++)
			pages[i].bound = 0;
	}
	else
	{
		const uint16 *radii;

		hamming_verify_page(search->index, directory, page, HAMMING_DIRECTORY, shape);
		radii = hamming_page_radii(page, shape);
		hamming_kernel()->select(HammingPageGetCodes(page), balls, shape->words, search->query,
								 UINT_MAX, search->hits);
		for (int ball = 0; ball < balls; ball++)
		{
			PageBound  *bounded = &pages[ball / shape->balls];
			int			bound = (int) search->hits[ball].distance - radii[ball];

			if (radii[ball] == HAMMING_NO_BALL)
				continue;
			bounded->has_entries = true;
			bounded->bound = Min(bounded->bound, Min(Max(bound, 0), shape->bits));
		}
	}
	UnlockReleaseBuffer(buffer);

	for (int i = count; i < shape->span; i++)
		if (pages[i].has_entries && pages[i].block >= RelationGetNumberOfBlocks(search->index))
			hamming_report_corruption(search->index, pages[i].block);
	if (!search->has_query)
		for (int i = 0; i < count; i++)
			pages[i].bound = 0;
	return count;
}

/*
 * Lists the data pages in ascending order of bound, then of block, by a counting sort.
 */
static void
read_directory(HammingSearch *search)
{
	const HammingShape *shape = &search->shape;
	BlockNumber blocks = RelationGetNumberOfBlocks(search->index);
	BlockNumber place[HAMMING_MAX_BITS + 3] = {0};
	PageBound  *pages = MemoryContextAllocHuge(search->context,
											   ((Size) blocks + shape->span) * sizeof(PageBound));

	search->pages = MemoryContextAllocHuge(search->context, blocks * sizeof(PageBound));
	search->page_count = 0;
	HAMMING_INJECTION_POINT("search-counted");
	for (BlockNumber directory = 1; directory < blocks; directory += shape->span + 1)
	{
		CHECK_FOR_INTERRUPTS();
		search->page_count += read_bounds(search, directory, blocks, pages + search->page_count);
	}
	for (BlockNumber i = 0; i < search->page_count; i++)
		place[pages[i].bound + 1]++;
	for (int bound = 0; bound <= NULL_DISTANCE(shape); bound++)
		place[bound + 1] += place[bound];
	for (BlockNumber i = 0; i < search->page_count; i++)
		search->pages[place[pages[i].bound]++] = pages[i];
	pfree(pages);
}

/*
 * Starts a search for a query; if query is NULL, all entries are equal.
 */
void
hamming_search_start(HammingSearch *search, const uint64 *query)
{
	MemoryContextReset(search->context);
	search->has_query = query != NULL;
	memset(search->query, 0, sizeof(search->query));
	if (search->has_query)
		memcpy(search->query, query, search->shape.words * sizeof(uint64));
	search->keys = NULL;
	search->batch = 0;
	search->key_count = search->key_next = 0;
	search->last = 0;
	search->exhausted = false;
	read_directory(search);
	HAMMING_INJECTION_POINT("search-bounded");
}

/*
 * Reads the keys of a page's entries that come after the last one returned and not after farthest.
 * Returns their number.
 */
static int
read_keys(HammingSearch *search, const PageBound *bounded, uint64 farthest)
{
	const HammingShape *shape = &search->shape;
	BlockNumber block = bounded->block;
	Buffer		buffer = ReadBuffer(search->index, block);
	Page		page = BufferGetPage(buffer);
	int			found = 0;

	/* Fetch both ends of the page from memory while taking the lock. */
	for (int line = 0; line < PREFETCH_LINES; line++)
		__builtin_prefetch((char *) page + line * 64);
	__builtin_prefetch((char *) page + BLCKSZ - 64);

	HAMMING_INJECTION_POINT("search-page");
	LockBuffer(buffer, BUFFER_LOCK_SHARE);
	HAMMING_INJECTION_POINT("search-page-locked");
	if (PageIsNew(page))
	{
		/* Extension is not logged, so a crash leaves zeroed pages; those never had entries. */
		if (bounded->has_entries)
			hamming_report_corruption(search->index, block);
	}
	else
	{
		int			hits;

		hamming_verify_page(search->index, block, page, HAMMING_DATA, shape);
		hits = hamming_kernel()->select(HammingPageGetCodes(page),
										HammingPageGetOpaque(page)->count,
										shape->words, search->query,
										search->has_query ? hamming_key_distance(farthest) : UINT_MAX,
										search->hits);
		HAMMING_INJECTION_POINT("search-page-compared");
		for (int i = 0; i < hits; i++)
		{
			ItemPointer tid = hamming_page_tid(page, search->hits[i].index);
			unsigned	distance = search->has_query ? search->hits[i].distance : 0;
			uint64		key;

			if (tid->ip_posid & HAMMING_NULL_FLAG)
				distance = NULL_DISTANCE(shape);
			key = hamming_key(distance, tid);
			if (key > search->last && key <= farthest &&
				(search->selected == NULL || hamming_tid_set_contains(search->selected, hamming_key_tid(key))))
				search->page_keys[found++] = key;
		}
	}
	UnlockReleaseBuffer(buffer);
	return found;
}

/*
 * Keeps the nearest of the collected keys, up to the size of the batch; in a search among selected
 * entries also all that are as near as the last of these.  Returns the farthest key to collect now.
 */
static uint64
keep_nearest(HammingSearch *search)
{
	uint64		farthest;

	hamming_sort_keys(search->keys, search->key_count);
	if (search->key_count < search->batch)
		return PG_UINT64_MAX;
	farthest = search->keys[search->batch - 1];
	if (search->selected == NULL)
		search->key_count = search->batch;
	else
	{
		int			count = search->batch;

		farthest |= hamming_key_tid(PG_UINT64_MAX);
		while (count < search->key_count && search->keys[count] <= farthest)
			count++;
		search->key_count = count;
	}
	return farthest;
}

/*
 * Collects the next batch, in one pass over the pages.
 */
static void
collect_batch(HammingSearch *search)
{
	int64		room = (int64) work_mem * 1024 / (2 * sizeof(uint64));
	int64		batch = search->batch == 0 ? search->first_batch : (int64) search->batch * BATCH_GROWTH;
	int			slack;
	int			allocated;
	uint64		farthest = PG_UINT64_MAX;

	search->batch = (int) Min(batch, Min(Max(room, FIRST_BATCH), INT_MAX / 4));
	if (search->keys != NULL)
		pfree(search->keys);
	/* Among selected entries, a small slack ends passes earlier and saves many reads of TIDs. */
	slack = search->selected == NULL ? search->batch : search->batch / 8 + 1;
	allocated = search->batch + slack;
	search->keys = MemoryContextAllocHuge(search->context, allocated * sizeof(uint64));
	search->key_count = search->key_next = 0;

	for (search->visited = 0; search->visited < search->page_count; search->visited++)
	{
		const PageBound *page = &search->pages[search->visited];
		int			found;

		if (page->bound > hamming_key_distance(farthest))
			break;
		CHECK_FOR_INTERRUPTS();
		found = read_keys(search, page, farthest);
		for (int i = 0; i < found; i++)
		{
			if (search->page_keys[i] > farthest)
				continue;
			search->keys[search->key_count++] = search->page_keys[i];
			if (search->key_count < allocated)
				continue;
			farthest = keep_nearest(search);
			if (search->key_count > allocated - slack)
			{
				allocated = 2 * search->key_count + slack;
				search->keys = repalloc_huge(search->keys, allocated * sizeof(uint64));
			}
		}
	}
	keep_nearest(search);
	HAMMING_INJECTION_POINT("search-pass-done");
	search->exhausted = search->key_count < search->batch;
}

/*
 * Returns the next nearest entry, or false after the last one.
 */
bool
hamming_search_next(HammingSearch *search, ItemPointer tid)
{
	if (search->key_next == search->key_count)
	{
		if (search->exhausted)
			return false;
		collect_batch(search);
		if (search->key_count == 0)
			return false;
	}
	search->last = search->keys[search->key_next++];
	hamming_tid_of_number(hamming_key_tid(search->last), tid);
	return true;
}

/*
 * Returns the distance of the last entry returned.
 */
unsigned
hamming_search_distance(const HammingSearch *search)
{
	return hamming_key_distance(search->last);
}

/*
 * Whether the batch is used up.  In a search among selected entries, the next one is then farther
 * than the last.
 */
bool
hamming_search_at_end_of_batch(const HammingSearch *search)
{
	return search->key_next == search->key_count;
}

/*
 * Returns the number of data pages, and how many of them the latest pass has visited.
 */
BlockNumber
hamming_search_pages(const HammingSearch *search, BlockNumber *visited)
{
	*visited = search->visited;
	return search->page_count;
}
