/*
 * Kernels, balls and the order of codes, against plain loops; meant to run under sanitizers.
 *
 * Prints what it has checked; aborts at the first thing that is wrong.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bisect.h"
#include "components.h"
#include "distance.h"
#include "order.h"

#define CHECK(condition) \
	do { \
		if (!(condition)) \
		{ \
			fprintf(stderr, "%s:%d: not true: %s\n", __FILE__, __LINE__, #condition); \
			exit(1); \
		} \
	} while (0)

static uint64_t random_state = 42;

static uint64_t
draw(void)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return random_state;
}

static int
below(int limit)
{
	return (int) (draw() % (uint64_t) limit);
}

static void *
allocate(size_t size)
{
	void	   *memory = malloc(size);

	CHECK(memory != NULL);
	return memory;
}

static int
plain_distance(const uint64_t *a, const uint64_t *b, int words)
{
	int			distance = 0;

	for (int bit = 0; bit < 64 * words; bit++)
		distance += ((a[bit / 64] ^ b[bit / 64]) >> bit % 64) & 1;
	return distance;
}

/* Codes around a few centres, as natural ones are: each bit is flipped with probability 1/8. */
static void
draw_code(uint64_t *code, int words, int clusters, int *cluster)
{
	*cluster = below(clusters);
	for (int word = 0; word < words; word++)
	{
		uint64_t	centre = (uint64_t) (*cluster + 1) * UINT64_C(0x9E3779B97F4A7C15);

		centre = (centre ^ centre >> 29) * (UINT64_C(0xBF58476D1CE4E5B9) + 2 * (uint64_t) word);
		code[word] = centre ^ (draw() & draw() & draw());
	}
}

/* Interleaved codes in full blocks of lanes; what lies behind the last one is noise. */
static uint64_t *
draw_codes(int count, int words)
{
	size_t		size = (size_t) (count + HAMMING_LANES - 1) / HAMMING_LANES * HAMMING_LANES * words;
	uint64_t   *codes = allocate((size + 1) * sizeof(uint64_t));

	for (size_t i = 0; i < size; i++)
		codes[i] = draw();
	return codes;
}

static void
test_select(const HammingKernel *kernel)
{
	for (int round = 0; round < 400; round++)
	{
		int			words = 1 + below(HAMMING_MAX_WORDS);
		int			count = below(80);
		unsigned	limit = round % 10 == 0 ? (unsigned) -1 : (unsigned) (24 * words + below(16 * words));
		uint64_t   *codes = draw_codes(count, words);
		HammingHit *hits = allocate((count + 1) * sizeof(HammingHit));
		uint64_t	query[HAMMING_MAX_WORDS];
		int			found;
		int			expected = 0;

		for (int word = 0; word < words; word++)
			query[word] = draw();
		if (count > 3)
			hamming_put_code(codes, 3, words, query);
		found = kernel->select(codes, count, words, query, limit, hits);
		for (int i = 0; i < count; i++)
		{
			uint64_t	code[HAMMING_MAX_WORDS];
			int			distance;

			hamming_get_code(codes, i, words, code);
			distance = plain_distance(code, query, words);
			CHECK(kernel->distance(code, query, words) == distance);
			if ((unsigned) distance <= limit)
			{
				CHECK(expected < found);
				CHECK(hits[expected].index == i && hits[expected].distance == distance);
				expected++;
			}
		}
		CHECK(found == expected);
		free(hits);
		free(codes);
	}
}

static void
test_contrast(const HammingKernel *kernel)
{
	for (int words = 1; words <= HAMMING_MAX_WORDS; words++)
	{
		size_t		stride = (size_t) words + 1;
		uint64_t	records[20 * (HAMMING_MAX_WORDS + 1)];
		uint64_t	left[HAMMING_MAX_WORDS] = {0};
		uint64_t	right[HAMMING_MAX_WORDS];
		int16_t		contrast[20];

		for (size_t i = 0; i < 20 * stride; i++)
			records[i] = draw();
		memset(right, 0xFF, sizeof(right));
		memcpy(records, right, words * sizeof(uint64_t));
		kernel->contrast(records, stride, 20, words, left, right, contrast);
		CHECK(contrast[0] == 64 * words);
		for (size_t i = 0; i < 20; i++)
			CHECK(contrast[i] == plain_distance(records + i * stride, left, words) -
				  plain_distance(records + i * stride, right, words));
	}
}

static void
test_majority(void)
{
	static const int counts[] = {1, 2, 3, 64, 255};

	for (int round = 0; round < 5; round++)
	{
		int			count = counts[round];
		uint64_t	records[255 * 3];
		uint64_t	centre[2];

		for (int i = 0; i < count * 3; i++)
			records[i] = draw() & (round % 2 ? draw() : UINT64_MAX);
		hamming_majority(records, 3, count, 2, centre);
		for (int bit = 0; bit < 128; bit++)
		{
			int			votes = 0;

			for (int i = 0; i < count; i++)
				votes += (records[i * 3 + bit / 64] >> bit % 64) & 1;
			CHECK(((centre[bit / 64] >> bit % 64) & 1) == (votes > count / 2));
		}
	}
}

/* What a search concludes from the balls must hold for every code that they are said to cover. */
static void
check_bound(const HammingBalls *balls, const uint64_t *code)
{
	for (int round = 0; round < 4; round++)
	{
		uint64_t	query[HAMMING_MAX_WORDS];
		int			bound = 64 * balls->words + 1;

		for (int word = 0; word < balls->words; word++)
			query[word] = round == 0 ? code[word] : code[word] ^ (draw() & draw());
		for (int ball = balls->first; ball < balls->first + balls->count; ball++)
		{
			uint64_t	centre[HAMMING_MAX_WORDS];
			int			reach;

			if (balls->radii[ball] == HAMMING_NO_BALL)
				continue;
			hamming_get_code(balls->centres, ball, balls->words, centre);
			reach = plain_distance(query, centre, balls->words) - balls->radii[ball];
			if (reach < bound)
				bound = reach;
		}
		CHECK(bound <= plain_distance(query, code, balls->words));
	}
	CHECK(hamming_balls_cover(balls, code));
}

static void
test_balls(int words, int page_balls)
{
	enum {PAGES = 3, ENTRIES = 150};
	int			slots = (PAGES * page_balls + HAMMING_LANES - 1) / HAMMING_LANES * HAMMING_LANES;
	uint64_t   *centres = allocate(slots * words * sizeof(uint64_t));
	uint16_t   *radii = allocate(slots * sizeof(uint16_t));
	uint64_t   *codes = draw_codes(ENTRIES, words);
	uint64_t   *copies = allocate(ENTRIES * (words + 1) * sizeof(uint64_t));
	int16_t		scratch[ENTRIES];
	uint64_t	code[HAMMING_MAX_WORDS];
	int			cluster;
	HammingBalls balls = {centres, radii, page_balls, page_balls, words};
	HammingRecords records = {copies, ENTRIES, words, scratch};

	memset(radii, 0x11, slots * sizeof(uint16_t));
	hamming_balls_clear(&balls);
	CHECK(radii[page_balls - 1] == 0x1111 && radii[2 * page_balls] == 0x1111);
	for (int i = 0; i < ENTRIES; i++)
	{
		draw_code(code, words, 4, &cluster);
		hamming_put_code(codes, i, words, code);
		if (!hamming_balls_cover(&balls, code))
			hamming_balls_extend(&balls, code);
		for (int earlier = 0; earlier <= i; earlier += 7)
		{
			hamming_get_code(codes, earlier, words, code);
			check_bound(&balls, code);
		}
	}

	records.count = 0;
	hamming_find_balls(&records, &balls);
	CHECK(!hamming_balls_cover(&balls, code));
	CHECK(!hamming_balls_in_use(&balls));
	records.count = ENTRIES;
	for (int twice = 0; twice < 2; twice++)
	{
		hamming_balls_ensure(&balls);
		CHECK(hamming_balls_in_use(&balls));
		CHECK(radii[page_balls] == 0 && (page_balls == 1 || radii[page_balls + 1] == HAMMING_NO_BALL));
	}

	for (int i = 0; i < ENTRIES; i++)
	{
		hamming_get_code(codes, i, words, hamming_record(&records, i));
		hamming_record(&records, i)[words] = (uint64_t) i;
	}
	hamming_find_balls(&records, &balls);
	for (int i = 0; i < ENTRIES; i++)
		check_bound(&balls, hamming_record(&records, i));
	CHECK(radii[page_balls - 1] == 0x1111 && radii[2 * page_balls] == 0x1111);

	/* A few codes unlike the rest get balls of their own. */
	memset(copies, 0, ENTRIES * (words + 1) * sizeof(uint64_t));
	for (int i = 1; i < page_balls; i++)
		hamming_record(&records, i * ENTRIES / page_balls)[i % words] = UINT64_C(0xFF) << 8 * (i % 8);
	hamming_find_balls(&records, &balls);
	for (int i = page_balls; i < 2 * page_balls; i++)
		CHECK(radii[i] == 0 || radii[i] == HAMMING_NO_BALL);

	free(copies);
	free(codes);
	free(radii);
	free(centres);
}

static int	pauses;

static void
count_pause(void)
{
	pauses++;
}

/* The order is a permutation, and pages of clustered codes hold few clusters each. */
static void
test_order(size_t count, int words, size_t capacity, int clusters, bool noisy)
{
	size_t		stride = (size_t) words + 1;
	size_t		bytes = (count + 1) * stride * sizeof(uint64_t);
	uint64_t   *before = allocate(bytes);
	uint64_t   *after = allocate(bytes);
	int16_t    *scratch = allocate((count + 1) * sizeof(int16_t));
	bool	   *seen = calloc(count + 1, sizeof(bool));
	HammingWorkspace *workspace = allocate(sizeof(HammingWorkspace));
	HammingRecords records = {after, count, words, scratch};
	size_t		mixed = 0;

	for (size_t i = 0; i < count; i++)
	{
		int			cluster;

		draw_code(before + i * stride, words, clusters, &cluster);
		if (!noisy)
			for (int word = 0; word < words; word++)
				before[i * stride + word] = (uint64_t) cluster * UINT64_C(0x0123456789ABCDEF);
		before[i * stride + words] = i << 16 | (uint64_t) cluster;
	}
	memcpy(after, before, bytes);
	hamming_order(&records, capacity, workspace, count_pause);

	for (size_t i = 0; i < count; i++)
	{
		size_t		old = after[i * stride + words] >> 16;

		CHECK(old < count && !seen[old]);
		seen[old] = true;
		CHECK(memcmp(after + i * stride, before + old * stride, stride * sizeof(uint64_t)) == 0);
		if (i % capacity != 0)
			mixed += (after[i * stride + words] & 0xFFFF) != (after[(i - 1) * stride + words] & 0xFFFF);
	}
	if (words > 1 && count > capacity)
		CHECK(mixed < count / 8);

	free(workspace);
	free(seen);
	free(scratch);
	free(after);
	free(before);
}

static uint32_t
root_of(const uint32_t *roots, uint32_t at)
{
	while (roots[at] != at)
		at = roots[at];
	return at;
}

/* Connected by the blocks as by comparing each with each; and given up where that is asked for. */
static void
test_connect(size_t count, int words, int clusters, unsigned radius)
{
	size_t		stride = (size_t) words + 1;
	uint64_t   *codes = allocate((count + 1) * stride * sizeof(uint64_t));
	uint64_t   *copies = allocate((count + 1) * stride * sizeof(uint64_t));
	uint32_t   *expected = allocate((count + 1) * sizeof(uint32_t));
	uint32_t   *roots = allocate((count + 1) * sizeof(uint32_t));
	HammingWorkspace *workspace = allocate(sizeof(HammingWorkspace));
	HammingRecords records = {copies, count, words, allocate((count + 1) * sizeof(int16_t))};
	size_t		most_blocks = hamming_max_blocks(count);
	HammingBlocks blocks = {
		.codes = allocate(hamming_max_slots(count) * words * sizeof(uint64_t)),
		.centres = allocate(most_blocks * words * sizeof(uint64_t)),
		.radii = allocate(most_blocks * sizeof(uint16_t)),
		.firsts = allocate(most_blocks * sizeof(uint32_t)),
		.slots = allocate(most_blocks * sizeof(uint32_t)),
	};

	for (size_t i = 0; i < count; i++)
	{
		int			cluster;

		draw_code(codes + i * stride, words, clusters, &cluster);
		codes[i * stride + words] = i;
		expected[i] = (uint32_t) i;
	}
	for (uint32_t a = 0; a < count; a++)
		for (uint32_t b = a + 1; b < count; b++)
			if ((unsigned) hamming_kernel()->distance(codes + a * stride, codes + b * stride, words) <= radius)
			{
				uint32_t	x = root_of(expected, a);
				uint32_t	y = root_of(expected, b);

				expected[x < y ? y : x] = x < y ? x : y;
			}

	memcpy(copies, codes, count * stride * sizeof(uint64_t));
	CHECK(hamming_connected_components(&records, radius, UINT64_MAX, roots, &blocks, workspace,
								  count_pause));
	for (uint32_t i = 0; i < count; i++)
		CHECK(roots[i] == root_of(expected, i));
	if (count <= HAMMING_BLOCK)
	{
		memcpy(copies, codes, count * stride * sizeof(uint64_t));
		CHECK(hamming_connected_components(&records, radius, 1, roots, &blocks, workspace, count_pause));
	}
	if (count > 1000)
	{
		memcpy(copies, codes, count * stride * sizeof(uint64_t));
		CHECK(!hamming_connected_components(&records, radius, 100, roots, &blocks, workspace,
									   count_pause));
	}

	free(blocks.slots);
	free(blocks.firsts);
	free(blocks.radii);
	free(blocks.centres);
	free(blocks.codes);
	free(records.scratch);
	free(workspace);
	free(roots);
	free(expected);
	free(copies);
	free(codes);
}

int
main(void)
{
	for (int i = 0; i < hamming_kernel_count; i++)
	{
		const HammingKernel *kernel = &hamming_kernels[i];

		if (!kernel->supported())
			continue;
		test_select(kernel);
		test_contrast(kernel);
		printf("kernel %s\n", kernel->name);
	}
	test_majority();
	printf("majority\n");
	for (int words = 1; words <= HAMMING_MAX_WORDS; words++)
		for (int balls = 1; balls < 12; balls += 5)
			test_balls(words, balls);
	printf("balls\n");
	test_order(0, 1, 8, 1, true);
	test_order(7, 1, 8, 3, true);
	test_order(5000, 1, 64, 20, true);
	test_order(5000, 2, 48, 20, true);
	test_order(3000, 16, 56, 30, true);
	test_order(3000, 1, 64, 1, false);
	test_order(3000, 2, 64, 3, false);
	CHECK(pauses > 0);
	printf("order\n");
	test_connect(1, 1, 1, 2);
	test_connect(60, 1, 3, 8);
	test_connect(3000, 1, 20, 4);
	test_connect(3000, 1, 20, 8);
	test_connect(1500, 3, 40, 30);
	test_connect(1200, 16, 5, 180);
	printf("connect\n");
	return 0;
}
