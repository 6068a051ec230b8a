/*
 * The index access method hamming: the layout of its pages, and what its files share.
 *
 * Block 0 is the metapage.  After it, each directory page is followed by the data pages that it
 * bounds.  The length of the codes alone determines the kind of each block; see
 * docs/hamming-index.md.
 */
#ifndef HAMMING_H
#define HAMMING_H

#include "postgres.h"

#include "access/amapi.h"
#include "access/genam.h"
#include "nodes/execnodes.h"
#include "storage/bufmgr.h"
#include "storage/bufpage.h"
#include "storage/itemptr.h"
#include "utils/rel.h"

#include "balls.h"
#include "distance.h"
#include "injection_point.h"

#define HAMMING_MAGIC 0x44435348	/* "DCSH" */

/*
 * The page format.  Increment it with any change to the layout or to a number that determines it:
 * indexes of the old format are then refused until a REINDEX.  Add a file of the new format to
 * tests/hamming_index/formats.
 */
#define HAMMING_FORMAT 1

#define HAMMING_PAGE_ID 0xDC54

#define HAMMING_MIN_BITS 8
#define HAMMING_METAPAGE 0

/* Codes are aligned to cache lines, so that no vector crosses one. */
#define HAMMING_CODES_OFFSET 64

/* Entries per ball. */
#define HAMMING_BALL_ENTRIES 64

/* Flag in an entry's offset number: its code is null.  No offset number is this large. */
#define HAMMING_NULL_FLAG 0x8000

typedef enum HammingPageKind
{
	HAMMING_META = 1,
	HAMMING_DIRECTORY,
	HAMMING_DATA
} HammingPageKind;

/* Special space of every page. */
typedef struct HammingPageOpaqueData
{
	uint16		count;			/* entries, on a data page */
	uint16		kind;
	uint16		unused;
	uint16		page_id;
} HammingPageOpaqueData;

#define HammingPageGetOpaque(page) ((HammingPageOpaqueData *) PageGetSpecialPointer(page))
#define HammingPageGetCodes(page) ((uint64 *) ((char *) (page) + HAMMING_CODES_OFFSET))

typedef struct HammingMetaPageData
{
	uint32		magic;
	uint32		format;
	uint32		bits;
} HammingMetaPageData;

/* The layout that follows from the length of the codes. */
typedef struct HammingShape
{
	int			bits;
	int			words;
	int			capacity;		/* entries per data page */
	int			balls;			/* balls per data page */
	int			span;			/* data pages per directory page */
} HammingShape;

typedef struct HammingEntry
{
	uint64		code[HAMMING_MAX_WORDS];
	ItemPointerData tid;
	bool		is_null;
} HammingEntry;

/* Bytes of a page. */
typedef struct HammingRange
{
	OffsetNumber offset;
	OffsetNumber length;
} HammingRange;

/* Ranges that an appended entry changes: page header, TID, special space, and one for each word. */
#define HAMMING_MAX_RANGES (3 + HAMMING_MAX_WORDS)

/* page.c */
extern HammingShape hamming_shape_of_bits(int bits);
extern HammingShape hamming_shape(Relation index);
extern bool hamming_read_metapage(Relation index, HammingMetaPageData *meta);
extern int	hamming_column_bits(Relation index);
extern bool hamming_is_directory(const HammingShape *shape, BlockNumber block);
extern BlockNumber hamming_directory_of(const HammingShape *shape, BlockNumber block);
extern void hamming_init_page(Page page, HammingPageKind kind, const HammingShape *shape);
extern void hamming_init_metapage(Page page, int bits);
extern void hamming_report_corruption(Relation index, BlockNumber block);
extern void hamming_verify_page(Relation index, BlockNumber block, Page page,
								HammingPageKind kind, const HammingShape *shape);
extern void hamming_read_code(Datum value, const HammingShape *shape, uint64 *code);
extern bool hamming_code_is_padded(const HammingShape *shape, const uint64 *code);
extern void hamming_page_get(Page page, const HammingShape *shape, int at, HammingEntry *entry);
extern void hamming_page_append(Page page, const HammingShape *shape, const HammingEntry *entry);
extern int	hamming_page_appended(Page page, const HammingShape *shape, HammingRange *ranges);
extern HammingBalls hamming_page_balls(Page directory, const HammingShape *shape,
									   BlockNumber block);
extern uint16 *hamming_page_radii(Page directory, const HammingShape *shape);
extern void hamming_page_fit_balls(Page page, const HammingShape *shape,
								   const HammingBalls *balls);
extern ItemPointer hamming_page_tid(Page page, int at);
extern Buffer hamming_new_buffer(Relation index, ForkNumber fork);
extern int	hamming_free_space(Page page, const HammingShape *shape);

/* tid_set.c */
typedef struct HammingTidSet HammingTidSet;

/* A TID as a number; never 0. */
static inline uint64
hamming_tid_number(ItemPointer tid)
{
	return (uint64) ItemPointerGetBlockNumberNoCheck(tid) << 16 | tid->ip_posid;
}

static inline void
hamming_tid_of_number(uint64 number, ItemPointer tid)
{
	ItemPointerSet(tid, (BlockNumber) (number >> 16), (OffsetNumber) number);
}

extern HammingTidSet *hamming_tid_set_create(const uint64 *tids, int count);
extern const uint64 *hamming_tid_set_members(const HammingTidSet *set, int *count);
extern bool hamming_tid_set_contains(const HammingTidSet *set, uint64 tid);
extern HammingTidSet *hamming_tid_set_intersect(HammingTidSet *a, HammingTidSet *b);

/* search.c */

/*
 * A row's key in the order of a scan, as one number: distance, block and offset.
 */
static inline uint64
hamming_key(unsigned distance, ItemPointer tid)
{
	return (uint64) distance << 48 | (hamming_tid_number(tid) & ~(uint64) HAMMING_NULL_FLAG);
}

static inline unsigned
hamming_key_distance(uint64 key)
{
	return (unsigned) (key >> 48);
}

static inline uint64
hamming_key_tid(uint64 key)
{
	return key & ((UINT64CONST(1) << 48) - 1);
}

extern void hamming_sort_keys(uint64 *keys, size_t count);

typedef struct HammingSearch HammingSearch;

extern HammingSearch *hamming_search_create(Relation index);
extern void hamming_search_among(HammingSearch *search, const HammingTidSet *selected,
								 int expected);
extern void hamming_search_start(HammingSearch *search, const uint64 *query);
extern void hamming_search_free(HammingSearch *search);
extern bool hamming_search_next(HammingSearch *search, ItemPointer tid);
extern unsigned hamming_search_distance(const HammingSearch *search);
extern bool hamming_search_at_end_of_batch(const HammingSearch *search);
extern BlockNumber hamming_search_pages(const HammingSearch *search, BlockNumber *visited);

/* heap_search.c */
extern bool hamming_prefers_heap(Relation heap, Relation index, const HammingTidSet *selected);
extern uint64 *hamming_search_heap(Relation heap, Relation index, const HammingTidSet *selected,
								   const uint64 *query, int k, int max_distance, int *count);

/* build.c */
extern IndexBuildResult *hamming_build(Relation heap, Relation index, IndexInfo *index_info);
extern void hamming_build_empty(Relation index);
extern char *hamming_build_phase_name(int64 phase);

/* insert.c */
extern bool hamming_insert(Relation index, Datum *values, bool *isnull, ItemPointer heap_tid,
						   Relation heap, IndexUniqueCheck check_unique, bool index_unchanged,
						   IndexInfo *index_info);

/* scan.c */
extern IndexScanDesc hamming_begin_scan(Relation index, int nkeys, int norderbys);
extern void hamming_rescan(IndexScanDesc scan, ScanKey keys, int nkeys, ScanKey orderbys,
						   int norderbys);
extern bool hamming_get_tuple(IndexScanDesc scan, ScanDirection direction);
extern void hamming_end_scan(IndexScanDesc scan);

/* vacuum.c */
extern IndexBulkDeleteResult *hamming_bulk_delete(IndexVacuumInfo *info,
												  IndexBulkDeleteResult *stats,
												  IndexBulkDeleteCallback callback,
												  void *callback_state);
extern IndexBulkDeleteResult *hamming_vacuum_cleanup(IndexVacuumInfo *info,
													 IndexBulkDeleteResult *stats);

/* cost.c */
extern void hamming_cost_estimate(struct PlannerInfo *root, struct IndexPath *path,
								  double loop_count, Cost *startup_cost, Cost *total_cost,
								  Selectivity *selectivity, double *correlation, double *pages);

/* handler.c */
typedef enum HammingAccess
{
	HAMMING_DESCRIBE,			/* metadata only */
	HAMMING_READ,
	HAMMING_MAINTAIN
} HammingAccess;

extern Relation hamming_open(Oid index_oid, HammingAccess access, bool missing_ok,
							 Relation *heap);

#endif
