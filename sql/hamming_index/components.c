/*
 * Connected components of codes: a self-join by distance, block by block.
 *
 * Similar codes share a block, and two blocks are compared only if their balls come near enough to
 * each other.  A union-find forest keeps the components; a root is the least member of its tree.
 */
#include "components.h"

#include "balls.h"

/* Centres to compare at a time: the index of a hit has 16 bits. */
#define CHUNK 32768

typedef struct Join
{
	const HammingKernel *kernel;
	const HammingRecords *records;
	HammingBlocks *blocks;
	unsigned	radius;
	uint32_t   *roots;
	uint64_t	compared;
} Join;

static uint32_t
find_root(uint32_t *roots, uint32_t at)
{
	while (roots[at] != at)
		at = roots[at] = roots[roots[at]];
	return at;
}

static void
unite(uint32_t *roots, uint32_t a, uint32_t b)
{
	a = find_root(roots, a);
	b = find_root(roots, b);
	if (a < b)
		roots[b] = a;
	else
		roots[a] = b;
}

static int
block_size(const HammingBlocks *blocks, size_t block)
{
	return (int) (blocks->firsts[block + 1] - blocks->firsts[block]);
}

static const uint64_t *
block_record(const Join *join, size_t block, int at)
{
	return hamming_record(join->records, join->blocks->firsts[block] + at);
}

/*
 * Finds the codes of a block within limit of a code; returns their number.
 */
static int
search_block(Join *join, size_t block, const uint64_t *code, unsigned limit, HammingHit *hits)
{
	const HammingBlocks *blocks = join->blocks;
	int			words = join->records->words;
	int			size = block_size(blocks, block);

	join->compared += size;
	return join->kernel->select(blocks->codes + (size_t) blocks->slots[block] * words, size, words,
								code, limit, hits);
}

static void
add_block(const HammingRecords *records, size_t first, size_t size, HammingBlocks *blocks)
{
	int			words = records->words;
	size_t		block = blocks->count++;
	uint32_t	slot = blocks->slots[block];
	HammingBalls balls = {.centres = blocks->centres, .radii = blocks->radii, .words = words};

	blocks->firsts[block + 1] = (uint32_t) (first + size);
	blocks->slots[block + 1] = slot + (uint32_t) (size + HAMMING_LANES - 1) / HAMMING_LANES * HAMMING_LANES;
	for (size_t i = 0; i < size; i++)
		hamming_put_code(blocks->codes + (size_t) slot * words, (int) i, words,
						 hamming_record(records, first + i));
	hamming_balls_set(&balls, (int) block, hamming_record(records, first), (size_t) words + 1, size);
}

static void
make_blocks(const HammingRecords *records, HammingBlocks *blocks, HammingWorkspace *workspace,
			void (*pause) (void))
{
	size_t		cells = hamming_order(records, HAMMING_BLOCK, workspace, pause);

	blocks->count = 0;
	blocks->firsts[0] = blocks->slots[0] = 0;
	for (size_t cell = 0; cell < cells; cell++)
	{
		size_t		end = workspace->cell_starts[cell + 1];

		for (size_t first = workspace->cell_starts[cell]; first < end; first += HAMMING_BLOCK)
			add_block(records, first, end - first < HAMMING_BLOCK ? end - first : HAMMING_BLOCK,
					  blocks);
	}
}

/*
 * Unites the codes of two blocks, which may be the same, that lie within the radius of each other.
 */
static void
join_blocks(Join *join, size_t left, size_t right)
{
	int			words = join->records->words;
	uint64_t	centre[HAMMING_MAX_WORDS];
	HammingHit	near[HAMMING_BLOCK];
	HammingHit	hits[HAMMING_BLOCK];
	int			near_count;

	hamming_get_code(join->blocks->centres, (int) right, words, centre);
	near_count = search_block(join, left, centre, join->blocks->radii[right] + join->radius, near);
	for (int i = 0; i < near_count; i++)
	{
		const uint64_t *code = block_record(join, left, near[i].index);
		int			found = search_block(join, right, code, join->radius, hits);

		for (int hit = 0; hit < found; hit++)
			unite(join->roots, (uint32_t) code[words],
				  (uint32_t) block_record(join, right, hits[hit].index)[words]);
	}
}

/*
 * Joins a block with itself and with all later blocks.
 */
static void
join_block(Join *join, size_t left, unsigned widest)
{
	const HammingBlocks *blocks = join->blocks;
	int			words = join->records->words;
	unsigned	reach = blocks->radii[left] + join->radius;
	uint64_t	centre[HAMMING_MAX_WORDS];
	HammingHit	hits[CHUNK];

	hamming_get_code(blocks->centres, (int) left, words, centre);
	for (size_t first = left / HAMMING_LANES * HAMMING_LANES; first < blocks->count; first += CHUNK)
	{
		int			count = blocks->count - first < CHUNK ? (int) (blocks->count - first) : CHUNK;
		int			found = join->kernel->select(blocks->centres + first * words, count, words,
												 centre, reach + widest, hits);

		join->compared += count;
		for (int hit = 0; hit < found; hit++)
		{
			size_t		right = first + hits[hit].index;

			if (right >= left && hits[hit].distance <= reach + blocks->radii[right])
				join_blocks(join, left, right);
		}
	}
}

/*
 * Whether the join will probably exceed max_comparisons, estimated from the blocks that are done; the
 * others have ever fewer partners.  A single block is always joined.
 */
static bool
takes_too_long(const Join *join, size_t done, uint64_t max_comparisons)
{
	double		left = 1 - (double) done / join->blocks->count;

	return join->blocks->count > 1 && join->compared > max_comparisons / 64 &&
		join->compared > max_comparisons * (1 - left * left);
}

bool
hamming_connected_components(const HammingRecords *records, unsigned radius,
							 uint64_t max_comparisons, uint32_t *roots, HammingBlocks *blocks,
							 HammingWorkspace *workspace, void (*pause) (void))
{
	Join		join = {hamming_kernel(), records, blocks, radius, roots, 0};
	unsigned	widest = 0;

	for (size_t i = 0; i < records->count; i++)
		roots[i] = (uint32_t) i;
	make_blocks(records, blocks, workspace, pause);
	for (size_t block = 0; block < blocks->count; block++)
		if (blocks->radii[block] > widest)
			widest = blocks->radii[block];
	for (size_t block = 0; block < blocks->count; block++)
	{
		pause();
		join_block(&join, block, widest);
		if (takes_too_long(&join, block + 1, max_comparisons))
			return false;
	}
	for (size_t i = 0; i < records->count; i++)
		roots[i] = find_root(roots, (uint32_t) i);
	return true;
}
