/*
 * Puts like codes side by side: bisecting 2-means, with the cut at the end of a leaf.
 *
 * A set of records is parted by which of two centres is nearer.  The centres come from a sample,
 * by Lloyd's iteration with the majority of each bit as the mean.  The cut is moved to the nearest
 * multiple of the leaf, so that all leaves but the last are full, and kept off the outer quarters,
 * so that the depth is logarithmic whatever the codes.
 */
#include "order.h"

#include <string.h>

#include "balls.h"

#define SAMPLE 256
#define ITERATIONS 4

typedef struct Order
{
	const HammingKernel *kernel;
	int			words;
	size_t		stride;			/* of a record, in words */
	size_t		leaf;
	int16_t    *contrast;
	void		(*pause) (void);
	uint64_t	sample[SAMPLE * (HAMMING_MAX_WORDS + 1)];
} Order;

typedef struct Centres
{
	uint64_t	left[HAMMING_MAX_WORDS];
	uint64_t	right[HAMMING_MAX_WORDS];
} Centres;

static inline void
swap_records(uint64_t *a, uint64_t *b, size_t stride)
{
	for (size_t i = 0; i < stride; i++)
	{
		uint64_t	kept = a[i];

		a[i] = b[i];
		b[i] = kept;
	}
}

/*
 * Moves the records with contrast below 0 to the front; returns how many there are.
 */
static size_t
part(uint64_t *records, size_t count, size_t stride, int16_t *contrast)
{
	size_t		first = 0;
	size_t		end = count;

	for (;;)
	{
		while (first < end && contrast[first] < 0)
			first++;
		while (first < end && contrast[end - 1] >= 0)
			end--;
		if (first == end)
			return first;
		swap_records(records + first * stride, records + (end - 1) * stride, stride);
		contrast[first] = -1;
		contrast[--end] = 0;
		first++;
	}
}

/*
 * The record of the sample that is farthest from a code.
 */
static const uint64_t *
farthest(const Order *order, size_t count, const uint64_t *code)
{
	const uint64_t *found = order->sample;
	int			most = -1;

	for (size_t i = 0; i < count; i++)
	{
		const uint64_t *record = order->sample + i * order->stride;
		int			distance = order->kernel->distance(record, code, order->words);

		if (distance > most)
		{
			most = distance;
			found = record;
		}
	}
	return found;
}

static void
find_centres(Order *order, const uint64_t *records, size_t count, Centres *centres)
{
	size_t		stride = order->stride;
	size_t		width = order->words * sizeof(uint64_t);
	size_t		size = count < SAMPLE ? count : SAMPLE;
	int16_t		contrast[SAMPLE];

	for (size_t i = 0; i < size; i++)
		memcpy(order->sample + i * stride, records + i * count / size * stride,
			   stride * sizeof(uint64_t));

	hamming_majority(order->sample, stride, size, order->words, centres->left);
	memcpy(centres->right, farthest(order, size, centres->left), width);
	memcpy(centres->left, farthest(order, size, centres->right), width);

	for (int iteration = 0; iteration < ITERATIONS; iteration++)
	{
		size_t		left;

		order->kernel->contrast(order->sample, stride, size, order->words,
								centres->left, centres->right, contrast);
		left = part(order->sample, size, stride, contrast);
		if (left == 0 || left == size)
			return;
		hamming_majority(order->sample, stride, left, order->words, centres->left);
		hamming_majority(order->sample + left * stride, stride, size - left, order->words,
						 centres->right);
	}
}

/*
 * How many of the records go to the left: where the contrast changes its sign, rounded to leaves.
 */
static size_t
choose_cut(const Order *order, const size_t *histogram, int bits, size_t count)
{
	size_t		leaves = (count + order->leaf - 1) / order->leaf;
	size_t		margin = leaves / 4 > 1 ? leaves / 4 : 1;
	size_t		natural = histogram[bits] / 2;
	size_t		cut;

	for (int i = 0; i < bits; i++)
		natural += histogram[i];
	cut = (natural + order->leaf / 2) / order->leaf;
	if (cut < margin)
		cut = margin;
	if (cut > leaves - margin)
		cut = leaves - margin;
	return cut * order->leaf;
}

static size_t
bisect(Order *order, uint64_t *records, size_t count)
{
	int			bits = 64 * order->words;
	size_t		histogram[2 * HAMMING_MAX_BITS + 1] = {0};	/* of contrast + bits */
	int16_t    *contrast = order->contrast;
	Centres		centres;
	size_t		cut;
	size_t		ties;
	int			at = 0;

	find_centres(order, records, count, &centres);
	order->kernel->contrast(records, order->stride, count, order->words,
							centres.left, centres.right, contrast);
	for (size_t i = 0; i < count; i++)
		histogram[contrast[i] + bits]++;
	cut = choose_cut(order, histogram, bits, count);

	/* The contrast at which the cut falls, and how many of those that have it go to the left. */
	for (ties = cut; ties > histogram[at]; at++)
		ties -= histogram[at];
	for (size_t i = 0; i < count; i++)
	{
		int			above = contrast[i] + bits - at;

		if (above == 0 && ties > 0)
		{
			ties--;
			above = -1;
		}
		contrast[i] = above < 0 ? -1 : 0;
	}
	return part(records, count, order->stride, contrast);
}

static void
arrange(Order *order, uint64_t *records, size_t count)
{
	while (count > order->leaf)
	{
		size_t		left;

		order->pause();
		left = bisect(order, records, count);
		arrange(order, records, left);
		records += left * order->stride;
		count -= left;
	}
}

void
hamming_order(uint64_t *records, size_t count, int words, size_t leaf, int16_t *contrast,
			  void (*pause) (void))
{
	Order		order = {
		.kernel = hamming_kernel(),
		.words = words,
		.stride = (size_t) words + 1,
		.leaf = leaf,
		.contrast = contrast,
		.pause = pause,
	};

	arrange(&order, records, count);
}
