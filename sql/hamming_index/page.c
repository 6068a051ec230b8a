/*
 * Page layout.
 *
 * A data page stores its codes, interleaved by eight, from HAMMING_CODES_OFFSET upwards and its TIDs
 * from the special space downwards.  The free space lies between them, so WAL omits it.  A directory
 * page stores the centres of balls like codes, and their radii before the special space.
 */
#include "hamming.h"

#include "catalog/pg_type.h"
#include "storage/lmgr.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/varbit.h"

#include "bisect.h"

#define HAMMING_SPECIAL (BLCKSZ - (int) MAXALIGN(sizeof(HammingPageOpaqueData)))
#define HAMMING_ROOM (HAMMING_SPECIAL - HAMMING_CODES_OFFSET)

/*
 * How many codes fit on a page, each with payload bytes, in full blocks of lanes.
 */
static int
codes_that_fit(int words, int payload)
{
	int			block = HAMMING_LANES * (words * (int) sizeof(uint64) + payload);

	return HAMMING_ROOM / block * HAMMING_LANES;
}

HammingShape
hamming_shape_of_bits(int bits)
{
	HammingShape shape;

	shape.bits = bits;
	shape.words = (bits + 63) / 64;
	shape.capacity = codes_that_fit(shape.words, sizeof(ItemPointerData));
	shape.balls = Max(shape.capacity / HAMMING_BALL_ENTRIES, 2);
	shape.span = codes_that_fit(shape.words, sizeof(uint16)) / shape.balls;
	return shape;
}

/*
 * Returns the length of the codes, from the type of the indexed column.
 *
 * Type bit varying is refused: it allows codes of other lengths, which could not be inserted.
 */
int
hamming_column_bits(Relation index)
{
	Form_pg_attribute column = TupleDescAttr(RelationGetDescr(index), 0);

	if (getBaseType(column->atttypid) != BITOID)
		ereport(ERROR,
				(errcode(ERRCODE_DATATYPE_MISMATCH),
				 errmsg("column \"%s\" is of type %s, but a hamming index needs bit(n)",
						NameStr(column->attname), format_type_be(column->atttypid)),
				 errhint("Declare the column as bit(64), for example, or index an expression with a cast to it.")));
	if (column->atttypmod < 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("column \"%s\" has no length, which a hamming index needs",
						NameStr(column->attname)),
				 errhint("Declare the column as bit(64), for example, or index an expression with a cast to it.")));
	if (column->atttypmod < HAMMING_MIN_BITS || column->atttypmod > HAMMING_MAX_BITS)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("column \"%s\" has %d bits, but a hamming index takes %d to %d",
						NameStr(column->attname), column->atttypmod,
						HAMMING_MIN_BITS, HAMMING_MAX_BITS),
				 errhint("Declare the column as bit(64), for example, or use pgvector's hnsw for longer codes.")));
	return column->atttypmod;
}

/*
 * Reads the metapage; returns false if block 0 is not one.
 */
bool
hamming_read_metapage(Relation index, HammingMetaPageData *meta)
{
	Buffer		buffer = ReadBuffer(index, HAMMING_METAPAGE);
	Page		page = BufferGetPage(buffer);
	bool		is_metapage;

	LockBuffer(buffer, BUFFER_LOCK_SHARE);
	*meta = *(HammingMetaPageData *) PageGetContents(page);
	is_metapage = !PageIsNew(page) && meta->magic == HAMMING_MAGIC;
	UnlockReleaseBuffer(buffer);
	return is_metapage;
}

/*
 * Reports an index with another page format.
 */
static void
report_format(Relation index, uint32 format)
{
	char	   *name = quote_qualified_identifier(get_namespace_name(RelationGetNamespace(index)),
												  RelationGetRelationName(index));

	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("index \"%s\" has page format %u, but this dcsh_hamming reads format %d",
					RelationGetRelationName(index), format, HAMMING_FORMAT),
			 format > HAMMING_FORMAT ?
			 errhint("Install the newer dcsh_hamming that wrote it, or rebuild it with REINDEX INDEX %s;", name) :
			 errhint("Rebuild it with REINDEX INDEX %s;", name)));
}

/*
 * Returns the shape of an index, from its metapage or from the relcache.
 *
 * By value, because an invalidation, which any catalog lookup may process, frees rd_amcache.
 */
HammingShape
hamming_shape(Relation index)
{
	if (index->rd_amcache == NULL)
	{
		HammingMetaPageData meta;
		HammingShape *shape;

		if (!hamming_read_metapage(index, &meta))
			hamming_report_corruption(index, HAMMING_METAPAGE);
		/* Only the magic and the format are the same in all formats. */
		if (meta.format != HAMMING_FORMAT)
			report_format(index, meta.format);
		if (meta.bits < HAMMING_MIN_BITS || meta.bits > HAMMING_MAX_BITS ||
			meta.bits != TupleDescAttr(RelationGetDescr(index), 0)->atttypmod)
			hamming_report_corruption(index, HAMMING_METAPAGE);

		shape = MemoryContextAlloc(index->rd_indexcxt, sizeof(HammingShape));
		*shape = hamming_shape_of_bits(meta.bits);
		index->rd_amcache = shape;
	}
	return *(HammingShape *) index->rd_amcache;
}

bool
hamming_is_directory(const HammingShape *shape, BlockNumber block)
{
	return block > HAMMING_METAPAGE && (block - 1) % (shape->span + 1) == 0;
}

/*
 * Returns the directory page of a data page.
 */
BlockNumber
hamming_directory_of(const HammingShape *shape, BlockNumber block)
{
	return block - (block - 1) % (shape->span + 1);
}

uint16 *
hamming_page_radii(Page directory, const HammingShape *shape)
{
	return (uint16 *) HammingPageGetOpaque(directory) - shape->span * shape->balls;
}

HammingBalls
hamming_page_balls(Page directory, const HammingShape *shape, BlockNumber block)
{
	HammingBalls balls;

	balls.centres = HammingPageGetCodes(directory);
	balls.radii = hamming_page_radii(directory, shape);
	balls.first = (block - hamming_directory_of(shape, block) - 1) * shape->balls;
	balls.count = shape->balls;
	balls.words = shape->words;
	return balls;
}

ItemPointer
hamming_page_tid(Page page, int at)
{
	return (ItemPointer) HammingPageGetOpaque(page) - (at + 1);
}

/*
 * Initializes a page, or its copy in a WAL record.
 */
void
hamming_init_page(Page page, HammingPageKind kind, const HammingShape *shape)
{
	HammingPageOpaqueData *opaque;

	PageInit(page, BLCKSZ, sizeof(HammingPageOpaqueData));
	opaque = HammingPageGetOpaque(page);
	opaque->kind = kind;
	opaque->page_id = HAMMING_PAGE_ID;
	if (kind == HAMMING_DATA)
		((PageHeader) page)->pd_lower = HAMMING_CODES_OFFSET;
	else if (kind == HAMMING_DIRECTORY)
	{
		uint16	   *radii = hamming_page_radii(page, shape);

		for (int ball = 0; ball < shape->span * shape->balls; ball++)
			radii[ball] = HAMMING_NO_BALL;
		/* No free space. */
		((PageHeader) page)->pd_lower = ((PageHeader) page)->pd_upper =
			(char *) radii - (char *) page;
	}
}

void
hamming_init_metapage(Page page, int bits)
{
	HammingMetaPageData *meta = (HammingMetaPageData *) PageGetContents(page);

	hamming_init_page(page, HAMMING_META, NULL);
	meta->magic = HAMMING_MAGIC;
	meta->format = HAMMING_FORMAT;
	meta->bits = bits;
	((PageHeader) page)->pd_lower = (char *) (meta + 1) - (char *) page;
}

void
hamming_report_corruption(Relation index, BlockNumber block)
{
	ereport(ERROR,
			(errcode(ERRCODE_INDEX_CORRUPTED),
			 errmsg("index \"%s\" is corrupted at block %u",
					RelationGetRelationName(index), block),
			 errhint("Please REINDEX it.")));
}

/*
 * Returns the offset where the codes of count entries end; blocks of lanes are full.
 */
static int
codes_end(const HammingShape *shape, int count)
{
	int			blocks = (count + HAMMING_LANES - 1) / HAMMING_LANES;

	return HAMMING_CODES_OFFSET + blocks * HAMMING_LANES * shape->words * (int) sizeof(uint64);
}

static bool
is_valid(Page page, HammingPageKind kind, const HammingShape *shape)
{
	PageHeader	header = (PageHeader) page;
	HammingPageOpaqueData *opaque;

	if (PageGetPageSize(page) != BLCKSZ || header->pd_special != HAMMING_SPECIAL)
		return false;
	opaque = HammingPageGetOpaque(page);
	if (opaque->page_id != HAMMING_PAGE_ID || opaque->kind != kind)
		return false;
	switch (kind)
	{
		case HAMMING_DATA:
			return opaque->count <= shape->capacity &&
				header->pd_lower == codes_end(shape, opaque->count) &&
				header->pd_upper == HAMMING_SPECIAL - opaque->count * sizeof(ItemPointerData);
		case HAMMING_DIRECTORY:
			return header->pd_lower == header->pd_upper &&
				header->pd_upper == (char *) hamming_page_radii(page, shape) - (char *) page;
		default:
			return true;
	}
}

/*
 * Reports a page with an invalid header, so that nothing is read or written beyond its end, or lost
 * in the hole that full-page images omit.
 */
void
hamming_verify_page(Relation index, BlockNumber block, Page page, HammingPageKind kind,
					const HammingShape *shape)
{
	if (PageIsNew(page) || !is_valid(page, kind, shape))
		hamming_report_corruption(index, block);
}

/*
 * Converts a value of type bit to words; bits beyond its length are zero.
 */
void
hamming_read_code(Datum value, const HammingShape *shape, uint64 *code)
{
	VarBit	   *bit = DatumGetVarBitP(value);

	if (VARBITLEN(bit) != shape->bits)
		ereport(ERROR,
				(errcode(ERRCODE_DATA_EXCEPTION),
				 errmsg("different bit lengths %d and %d", shape->bits, VARBITLEN(bit)),
				 errhint("The indexed codes have %d bits.", shape->bits)));
	memset(code, 0, shape->words * sizeof(uint64));
	memcpy(code, VARBITS(bit), VARBITBYTES(bit));
	if ((Pointer) bit != DatumGetPointer(value))
		pfree(bit);
}

/*
 * Whether the bytes of the last word that are not part of the code are zero.
 */
bool
hamming_code_is_padded(const HammingShape *shape, const uint64 *code)
{
	static const char zeros[sizeof(uint64)];
	int			bytes = (shape->bits + 7) / 8;

	return memcmp((const char *) code + bytes, zeros, shape->words * sizeof(uint64) - bytes) == 0;
}

void
hamming_page_get(Page page, const HammingShape *shape, int at, HammingEntry *entry)
{
	hamming_get_code(HammingPageGetCodes(page), at, shape->words, entry->code);
	entry->tid = *hamming_page_tid(page, at);
	entry->is_null = (entry->tid.ip_posid & HAMMING_NULL_FLAG) != 0;
	entry->tid.ip_posid &= ~HAMMING_NULL_FLAG;
}

/*
 * Appends an entry to a data page that is not full.
 */
void
hamming_page_append(Page page, const HammingShape *shape, const HammingEntry *entry)
{
	HammingPageOpaqueData *opaque = HammingPageGetOpaque(page);
	ItemPointer tid = hamming_page_tid(page, opaque->count);
	char	   *end;

	Assert(opaque->count < shape->capacity);

	if (opaque->count % HAMMING_LANES == 0)
	{
		end = (char *) page + ((PageHeader) page)->pd_lower;
		memset(end, 0, HAMMING_LANES * shape->words * sizeof(uint64));
		((PageHeader) page)->pd_lower += HAMMING_LANES * shape->words * sizeof(uint64);
	}
	if (!entry->is_null)
		hamming_put_code(HammingPageGetCodes(page), opaque->count, shape->words, entry->code);
	*tid = entry->tid;
	if (entry->is_null)
		tid->ip_posid |= HAMMING_NULL_FLAG;
	((PageHeader) page)->pd_upper = (char *) tid - (char *) page;
	opaque->count++;
}

/*
 * Sets the balls of a data page to its entries, as closely as a build does.
 */
void
hamming_page_fit_balls(Page page, const HammingShape *shape, const HammingBalls *balls)
{
	int			count = HammingPageGetOpaque(page)->count;
	HammingRecords records = {
		.records = palloc0((count + 1) * (shape->words + 1) * sizeof(uint64)),
		.words = shape->words,
		.scratch = palloc((count + 1) * sizeof(int16)),
	};

	for (int i = 0; i < count; i++)
		if (!(hamming_page_tid(page, i)->ip_posid & HAMMING_NULL_FLAG))
			hamming_get_code(HammingPageGetCodes(page), i, shape->words,
							 hamming_record(&records, records.count++));
	hamming_find_balls(&records, balls);
	if (count > 0)
		hamming_balls_ensure(balls);
	pfree(records.records);
	pfree(records.scratch);
}

/*
 * Finds the bytes that hamming_page_append has changed for the last entry; returns the number of
 * ranges, at most HAMMING_MAX_RANGES.
 */
int
hamming_page_appended(Page page, const HammingShape *shape, HammingRange *ranges)
{
	HammingPageOpaqueData *opaque = HammingPageGetOpaque(page);
	PageHeader	header = (PageHeader) page;
	int			entry = opaque->count - 1;
	const uint64 *word = HammingPageGetCodes(page) +
		entry / HAMMING_LANES * HAMMING_LANES * shape->words + entry % HAMMING_LANES;
	int			count = 0;

#define ADD_RANGE(start, size) \
	ranges[count++] = (HammingRange) {(const char *) (start) - (const char *) page, (size)}

	ADD_RANGE(&header->pd_lower, sizeof(header->pd_lower) + sizeof(header->pd_upper));
	for (int i = 0; i < shape->words; i++)
		ADD_RANGE(word + i * HAMMING_LANES, sizeof(uint64));
	ADD_RANGE(hamming_page_tid(page, entry), sizeof(ItemPointerData));
	ADD_RANGE(&opaque->count, sizeof(opaque->count));
#undef ADD_RANGE

	return count;
}

/*
 * Extends the fork by a zeroed block; returns it pinned but not locked.
 */
Buffer
hamming_new_buffer(Relation index, ForkNumber fork)
{
	Buffer		buffer;

	LockRelationForExtension(index, ExclusiveLock);
	buffer = ReadBufferExtended(index, fork, P_NEW, RBM_NORMAL, NULL);
	UnlockRelationForExtension(index, ExclusiveLock);
	return buffer;
}

/*
 * Returns the free space of a data page for the free space map.
 *
 * A little space is not reported: a dissimilar code there would widen the balls of the whole page.
 */
int
hamming_free_space(Page page, const HammingShape *shape)
{
	int			free = shape->capacity;

	if (!PageIsNew(page))
		free -= HammingPageGetOpaque(page)->count;
	if (free < shape->capacity / 4)
		return 0;
	return free * (shape->words * sizeof(uint64) + sizeof(ItemPointerData));
}
