/*
 * The access method hamming: its pages and the functions of its parts.
 *
 * Block 0 is the metapage.  Then a directory page and the data pages that it bounds take turns:
 * where a page lies follows from the length of the codes alone.  docs/hamming-index.md tells why.
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
#include "point.h"

#define HAMMING_MAGIC 0x44435348	/* "DCSH" */

/*
 * The format of the pages.  It goes up with every change of what lies where, and of any number that
 * the shape of an index follows from: then an index written before is refused until a REINDEX, and
 * tests/hamming_index/formats gets a file of the new format.
 */
#define HAMMING_FORMAT 1

#define HAMMING_PAGE_ID 0xDC54

#define HAMMING_MIN_BITS 8
#define HAMMING_METAPAGE 0

/* Codes begin on a cache line, so that no vector straddles two. */
#define HAMMING_CODES_OFFSET 64

/* The number of entries that a ball is made for. */
#define HAMMING_BALL_ENTRIES 64

/* In the offset number of an entry: its code is null.  No offset number is as large. */
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
	uint16		count;			/* entries of a data page */
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

/* What follows from the length of the codes. */
typedef struct HammingShape
{
	int			bits;
	int			words;
	int			capacity;		/* entries a data page */
	int			balls;			/* a data page */
	int			span;			/* data pages a directory page */
} HammingShape;

typedef struct HammingEntry
{
	uint64		code[HAMMING_MAX_WORDS];
	ItemPointerData tid;
	bool		is_null;
} HammingEntry;

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
extern void hamming_page_get(Page page, const HammingShape *shape, int at, HammingEntry *entry);
extern void hamming_page_append(Page page, const HammingShape *shape, const HammingEntry *entry);
extern HammingBalls hamming_page_balls(Page directory, const HammingShape *shape,
									   BlockNumber block);
extern uint16 *hamming_page_radii(Page directory, const HammingShape *shape);
extern ItemPointer hamming_page_tid(Page page, int at);
extern Buffer hamming_new_buffer(Relation index, ForkNumber fork);
extern int	hamming_free_space(Page page, const HammingShape *shape);

/* tid_set.c */
typedef struct HammingTidSet HammingTidSet;

/* A TID as one number; never 0. */
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

extern HammingTidSet *hamming_tid_set(const uint64 *tids, int count);
extern const uint64 *hamming_tid_set_all(const HammingTidSet *set, int *count);
extern bool hamming_tid_set_has(const HammingTidSet *set, uint64 tid);
extern HammingTidSet *hamming_tid_set_both(HammingTidSet *a, HammingTidSet *b);

/* search.c */
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

/* rows.c */
extern bool hamming_prefers_rows(Relation index, int rows);
extern uint64 *hamming_nearest_rows(Relation heap, Relation index, const HammingTidSet *selected,
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
	HAMMING_DESCRIBE,			/* nothing of its rows */
	HAMMING_READ,
	HAMMING_MAINTAIN
} HammingAccess;

extern Relation hamming_open(Oid index_oid, HammingAccess access, bool missing_ok,
							 Relation *heap);

#endif
