/*
 * Layout of the pages.
 *
 * A data page holds its codes interleaved by eight from HAMMING_CODES_OFFSET upwards and its TIDs
 * from the special space downwards; what is free lies between them, as PostgreSQL likes it.  A
 * directory page holds the centres of balls like codes, and their radii before the special space.
 */
#include "hamming.h"

#include "catalog/pg_type.h"
#include "storage/lmgr.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/varbit.h"

#define HAMMING_SPECIAL (BLCKSZ - (int) MAXALIGN(sizeof(HammingPageOpaqueData)))
#define HAMMING_ROOM (HAMMING_SPECIAL - HAMMING_CODES_OFFSET)

/*
 * How many codes of a number of words fit on a page with a payload each, in full blocks of lanes.
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
 * Length of the codes from the type of the indexed column.
 *
 * A column of type bit varying is refused: its type does not keep codes of other lengths out, and
 * an insertion of one would fail.
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
 * Reads the metapage; false where it is not one.
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
 * Refuses an index of another page format.
 */
static void
refuse_format(Relation index, uint32 format)
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
 * The shape of an index, read from its metapage once for each relcache entry.
 *
 * Returned by value: an invalidation, which any catalog lookup may process, frees rd_amcache.
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
		/* Nothing but the magic and the format is the same in all formats. */
		if (meta.format != HAMMING_FORMAT)
			refuse_format(index, meta.format);
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
 * The directory page of a data page.
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
 * Makes an empty page of a buffer's page or of its copy for the WAL.
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
		/* All of it is in use. */
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
 * Where the codes of so many entries end: they come in full blocks of lanes.
 */
static int
codes_end(const HammingShape *shape, int count)
{
	int			blocks = (count + HAMMING_LANES - 1) / HAMMING_LANES;

	return HAMMING_CODES_OFFSET + blocks * HAMMING_LANES * shape->words * (int) sizeof(uint64);
}

static bool
is_sound(Page page, HammingPageKind kind, const HammingShape *shape)
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
 * Refuses a page that is not what it should be, so that nothing is read or written beyond its end,
 * nor lost in the hole that images of a page in the WAL leave out.
 */
void
hamming_verify_page(Relation index, BlockNumber block, Page page, HammingPageKind kind,
					const HammingShape *shape)
{
	if (PageIsNew(page) || !is_sound(page, kind, shape))
		hamming_report_corruption(index, block);
}

/*
 * The bits of a value of type bit as words; bits beyond its length are zeros.
 */
void
hamming_read_code(Datum value, const HammingShape *shape, uint64 *code)
{
	VarBit	   *bit = DatumGetVarBitP(value);

	if (VARBITLEN(bit) != shape->bits)
		ereport(ERROR,
				(errcode(ERRCODE_DATA_EXCEPTION),
				 errmsg("different bit lengths %d and %d", shape->bits, VARBITLEN(bit)),
				 errhint("The index holds codes of %d bits.", shape->bits)));
	memset(code, 0, shape->words * sizeof(uint64));
	memcpy(code, VARBITS(bit), VARBITBYTES(bit));
	if ((Pointer) bit != DatumGetPointer(value))
		pfree(bit);
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
 * Adds an entry to a data page that is not full.
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
 * A new block at the end of the fork, zeroed, pinned and not locked.
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
 * What the free space map should say of a data page.
 *
 * A few entries that came free are kept to themselves: an unlike code in their place would widen
 * the bounds of the whole page.
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
