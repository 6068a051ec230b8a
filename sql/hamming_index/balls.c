/*
 * Interleaved codes, and the bounding balls of a page.
 */
#include "balls.h"

#include <string.h>

void
hamming_get_code(const uint64_t *codes, int index, int words, uint64_t *code)
{
	codes += (size_t) (index / HAMMING_LANES) * HAMMING_LANES * words + index % HAMMING_LANES;
	for (int word = 0; word < words; word++)
		code[word] = codes[word * HAMMING_LANES];
}

void
hamming_put_code(uint64_t *codes, int index, int words, const uint64_t *code)
{
	codes += (size_t) (index / HAMMING_LANES) * HAMMING_LANES * words + index % HAMMING_LANES;
	for (int word = 0; word < words; word++)
		codes[word * HAMMING_LANES] = code[word];
}

/*
 * Counts the votes for 64 bits at a time: word number d has the binary digit d of 64 counters.
 */
void
hamming_majority(const uint64_t *records, size_t stride, size_t count, int words, uint64_t *centre)
{
	enum {DIGITS = 8};			/* count to HAMMING_MAX_VOTERS */
	size_t		step = (count + HAMMING_MAX_VOTERS - 1) / HAMMING_MAX_VOTERS;
	size_t		voters = (count + step - 1) / step;

	for (int word = 0; word < words; word++)
	{
		uint64_t	digits[DIGITS] = {0};
		uint64_t	above = 0;
		uint64_t	equal = UINT64_MAX;

		for (size_t voter = 0; voter < voters; voter++)
		{
			uint64_t	carry = records[voter * step * stride + word];

			for (int digit = 0; carry != 0 && digit < DIGITS; digit++)
			{
				uint64_t	both = digits[digit] & carry;

				digits[digit] ^= carry;
				carry = both;
			}
		}
		/* Set the bits that more than half of the voters have. */
		for (int digit = DIGITS - 1; digit >= 0; digit--)
		{
			uint64_t	half = (voters / 2) >> digit & 1 ? UINT64_MAX : 0;

			above |= equal & digits[digit] & ~half;
			equal &= ~(digits[digit] ^ half);
		}
		centre[word] = above;
	}
}

void
hamming_balls_set(const HammingBalls *balls, int ball, const uint64_t *records, size_t stride,
				  size_t count)
{
	const HammingKernel *kernel = hamming_kernel();
	uint64_t	centre[HAMMING_MAX_WORDS];
	int			radius = 0;

	hamming_majority(records, stride, count, balls->words, centre);
	for (size_t i = 0; i < count; i++)
	{
		int			distance = kernel->distance(records + i * stride, centre, balls->words);

		if (distance > radius)
			radius = distance;
	}
	hamming_put_code(balls->centres, balls->first + ball, balls->words, centre);
	balls->radii[balls->first + ball] = (uint16_t) radius;
}

void
hamming_balls_clear(const HammingBalls *balls)
{
	for (int ball = balls->first; ball < balls->first + balls->count; ball++)
		balls->radii[ball] = HAMMING_NO_BALL;
}

bool
hamming_balls_in_use(const HammingBalls *balls)
{
	for (int ball = balls->first; ball < balls->first + balls->count; ball++)
		if (balls->radii[ball] != HAMMING_NO_BALL)
			return true;
	return false;
}

void
hamming_balls_ensure(const HammingBalls *balls)
{
	static const uint64_t zero[HAMMING_MAX_WORDS];

	if (!hamming_balls_in_use(balls))
		hamming_balls_extend(balls, zero);
}

/*
 * Returns the number of the used ball with the nearest centre, and its distance; -1 if none is in use.
 */
static int
nearest_ball(const HammingBalls *balls, const uint64_t *code, int *nearest_distance)
{
	const HammingKernel *kernel = hamming_kernel();
	uint64_t	centre[HAMMING_MAX_WORDS];
	int			nearest = -1;

	for (int ball = balls->first; ball < balls->first + balls->count; ball++)
	{
		int			distance;

		if (balls->radii[ball] == HAMMING_NO_BALL)
			continue;
		hamming_get_code(balls->centres, ball, balls->words, centre);
		distance = kernel->distance(code, centre, balls->words);
		if (nearest < 0 || distance < *nearest_distance)
		{
			nearest = ball;
			*nearest_distance = distance;
		}
	}
	return nearest;
}

int
hamming_balls_nearest(const HammingBalls *balls, const uint64_t *code)
{
	int			distance = 0;

	return nearest_ball(balls, code, &distance) - balls->first;
}

bool
hamming_balls_cover(const HammingBalls *balls, const uint64_t *code)
{
	const HammingKernel *kernel = hamming_kernel();
	uint64_t	centre[HAMMING_MAX_WORDS];

	for (int ball = balls->first; ball < balls->first + balls->count; ball++)
	{
		if (balls->radii[ball] == HAMMING_NO_BALL)
			continue;
		hamming_get_code(balls->centres, ball, balls->words, centre);
		if (kernel->distance(code, centre, balls->words) <= balls->radii[ball])
			return true;
	}
	return false;
}

void
hamming_balls_extend(const HammingBalls *balls, const uint64_t *code)
{
	int			distance = 0;
	int			nearest;

	for (int ball = balls->first; ball < balls->first + balls->count; ball++)
	{
		if (balls->radii[ball] == HAMMING_NO_BALL)
		{
			hamming_put_code(balls->centres, ball, balls->words, code);
			balls->radii[ball] = 0;
			return;
		}
	}
	nearest = nearest_ball(balls, code, &distance);
	if (distance > balls->radii[nearest])
		balls->radii[nearest] = (uint16_t) distance;
}
