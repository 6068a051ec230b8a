/*
 * Bisecting 2-means: records ordered by repeated halving, and the balls of a page.
 *
 * A set of records is partitioned by which of two centres is nearer.  The centres come from a sample,
 * by Lloyd's iteration with the majority of each bit as the mean.  Between pages the cut is moved to
 * the nearest multiple of a page's capacity and kept off the outer quarters, so that the depth is
 * logarithmic whatever the codes.
 */
#include "bisect.h"

#include <string.h>

#define SAMPLES 256
#define ITERATIONS 4
#define BALL_ITERATIONS 2

typedef struct Centres
{
	uint64_t	left[HAMMING_MAX_WORDS];
	uint64_t	right[HAMMING_MAX_WORDS];
} Centres;

/*
 * Moves the records whose scratch is negative to the front; returns how many there are.
 */
static size_t
partition(const HammingRecords *records)
{
	int16_t    *scratch = records->scratch;
	size_t		first = 0;
	size_t		end = records->count;

	for (;;)
	{
		while (first < end && scratch[first] < 0)
			first++;
		while (first < end && scratch[end - 1] >= 0)
			end--;
		if (first == end)
			return first;
		hamming_swap(records, first, end - 1);
		scratch[first++] = -1;
		scratch[--end] = 0;
	}
}

/*
 * Sets each record's scratch to its distance to the left centre less that to the right one.
 */
static void
contrast(const HammingRecords *records, const Centres *centres)
{
	hamming_kernel()->contrast(records->records, (size_t) records->words + 1, records->count,
							   records->words, centres->left, centres->right, records->scratch);
}

static const uint64_t *
farthest_record(const HammingRecords *records, const uint64_t *code)
{
	const HammingKernel *kernel = hamming_kernel();
	const uint64_t *best = records->records;
	int			longest = -1;

	for (size_t i = 0; i < records->count; i++)
	{
		int			distance = kernel->distance(hamming_record(records, i), code, records->words);

		if (distance > longest)
		{
			longest = distance;
			best = hamming_record(records, i);
		}
	}
	return best;
}

static void
find_centres(const HammingRecords *records, Centres *centres)
{
	uint64_t	copies[SAMPLES * (HAMMING_MAX_WORDS + 1)];
	int16_t		scratch[SAMPLES];
	HammingRecords samples = {copies, 0, records->words, scratch};
	size_t		stride = (size_t) records->words + 1;
	size_t		width = records->words * sizeof(uint64_t);

	samples.count = records->count < SAMPLES ? records->count : SAMPLES;
	for (size_t i = 0; i < samples.count; i++)
		memcpy(hamming_record(&samples, i),
			   hamming_record(records, i * records->count / samples.count),
			   stride * sizeof(uint64_t));

	hamming_majority(copies, stride, samples.count, records->words, centres->left);
	memcpy(centres->right, farthest_record(&samples, centres->left), width);
	memcpy(centres->left, farthest_record(&samples, centres->right), width);

	for (int iteration = 0; iteration < ITERATIONS; iteration++)
	{
		size_t		left;

		contrast(&samples, centres);
		left = partition(&samples);
		if (left == 0 || left == samples.count)
			return;
		hamming_majority(copies, stride, left, records->words, centres->left);
		hamming_majority(copies + left * stride, stride, samples.count - left, records->words,
						 centres->right);
	}
}

/*
 * How many records go to the left: where the contrast changes its sign, rounded to pages.
 */
static size_t
choose_cut(const size_t *histogram, int bits, size_t count, size_t capacity)
{
	size_t		pages = (count + capacity - 1) / capacity;
	size_t		margin = pages / 4 > 1 ? pages / 4 : 1;
	size_t		natural = histogram[bits] / 2;
	size_t		cut;

	for (int i = 0; i < bits; i++)
		natural += histogram[i];
	cut = (natural + capacity / 2) / capacity;
	if (cut < margin)
		cut = margin;
	if (cut > pages - margin)
		cut = pages - margin;
	return cut * capacity;
}

/*
 * Partitions the records of more than one page at the end of a page; returns how many go to the left.
 */
static size_t
split(const HammingRecords *records, size_t capacity)
{
	int			bits = 64 * records->words;
	size_t		histogram[2 * HAMMING_MAX_BITS + 1] = {0};	/* of contrast + bits */
	int16_t    *scratch = records->scratch;
	Centres		centres;
	size_t		ties;
	int			at = 0;

	find_centres(records, &centres);
	contrast(records, &centres);
	for (size_t i = 0; i < records->count; i++)
		histogram[scratch[i] + bits]++;

	/* The contrast at which to cut, and how many records with this contrast go to the left. */
	ties = choose_cut(histogram, bits, records->count, capacity);
	for (; ties > histogram[at]; at++)
		ties -= histogram[at];
	for (size_t i = 0; i < records->count; i++)
	{
		int			above = scratch[i] + bits - at;

		if (above == 0 && ties > 0)
		{
			ties--;
			above = -1;
		}
		scratch[i] = above < 0 ? -1 : 0;
	}
	return partition(records);
}

void
hamming_bisect(const HammingRecords *records, size_t capacity, void (*pause) (void))
{
	HammingRecords rest = *records;

	while (rest.count > capacity)
	{
		HammingRecords left;

		pause();
		left = hamming_slice(&rest, 0, split(&rest, capacity));
		hamming_bisect(&left, capacity, pause);
		rest = hamming_slice(&rest, left.count, rest.count - left.count);
	}
}

/*
 * Sets the centres of balls to records, each the farthest from those before it (Gonzalez, 1985), so that
 * a few codes unlike the rest get balls of their own.
 */
static void
choose_centres(const HammingRecords *records, const HammingBalls *balls)
{
	const HammingKernel *kernel = hamming_kernel();
	int16_t    *distances = records->scratch;
	size_t		farthest = 0;

	for (size_t i = 0; i < records->count; i++)
		distances[i] = INT16_MAX;
	for (int ball = 0; ball < balls->count && distances[farthest] > 0; ball++)
	{
		const uint64_t *centre = hamming_record(records, farthest);

		hamming_put_code(balls->centres, balls->first + ball, balls->words, centre);
		balls->radii[balls->first + ball] = 0;
		for (size_t i = 0; i < records->count; i++)
		{
			int			distance = kernel->distance(hamming_record(records, i), centre, records->words);

			if (distance < distances[i])
				distances[i] = (int16_t) distance;
		}
		for (size_t i = 0; i < records->count; i++)
			if (distances[i] > distances[farthest])
				farthest = i;
	}
}

/*
 * Assigns each record to the ball with the nearest centre, and sets each ball to its records.
 */
static void
fit_balls(const HammingRecords *records, const HammingBalls *balls)
{
	int16_t    *ball_of = records->scratch;
	size_t		first = 0;

	for (size_t i = 0; i < records->count; i++)
		ball_of[i] = (int16_t) hamming_balls_nearest(balls, hamming_record(records, i));
	hamming_balls_clear(balls);
	for (int ball = 0; ball < balls->count; ball++)
	{
		size_t		end = first;

		for (size_t i = first; i < records->count; i++)
		{
			if (ball_of[i] != ball)
				continue;
			hamming_swap(records, i, end);
			ball_of[i] = ball_of[end];
			ball_of[end++] = (int16_t) ball;
		}
		if (end > first)
			hamming_balls_set(balls, ball, hamming_record(records, first),
							  (size_t) records->words + 1, end - first);
		first = end;
	}
}

void
hamming_find_balls(const HammingRecords *records, const HammingBalls *balls)
{
	hamming_balls_clear(balls);
	if (records->count == 0)
		return;
	choose_centres(records, balls);
	for (int iteration = 0; iteration < BALL_ITERATIONS; iteration++)
		fit_balls(records, balls);
}
