/*
 * Popcount kernels: AVX-512 VPOPCNTDQ, AVX2, POPCNT, NEON and plain C, selected at run time.
 */
#include "distance.h"

#if defined(__x86_64__)
#define HAMMING_X86
#include <immintrin.h>
#elif defined(__aarch64__)
#define HAMMING_NEON
#include <arm_neon.h>
#endif

#define INLINE static inline __attribute__((always_inline))

/*
 * The body of a kernel, with common numbers of words as constants so that the compiler unrolls the
 * inner loop.
 */
#define SELECT_BY_WORDS(body) \
	switch (words) \
	{ \
		case 1: return body(codes, count, 1, query, limit, hits); \
		case 2: return body(codes, count, 2, query, limit, hits); \
		case 4: return body(codes, count, 4, query, limit, hits); \
		case 8: return body(codes, count, 8, query, limit, hits); \
		default: return body(codes, count, words, query, limit, hits); \
	}

#define SELECT_PARAMETERS \
	const uint64_t *codes, int count, int words, const uint64_t *query, \
	unsigned limit, HammingHit *hits

#define CONTRAST_PARAMETERS \
	const uint64_t *records, size_t stride, size_t count, int words, \
	const uint64_t *left, const uint64_t *right, int16_t *contrast

/* Lanes of the block at first that hold codes, as a bit mask. */
INLINE unsigned
lanes_in_use(int first, int count)
{
	return count - first >= HAMMING_LANES ? 0xFF : (1u << (count - first)) - 1;
}

INLINE int
append_hits(HammingHit *hits, int found, unsigned lanes, int first, const uint64_t *distance)
{
	while (lanes != 0)
	{
		int			lane = __builtin_ctz(lanes);

		hits[found].index = (uint16_t) (first + lane);
		hits[found].distance = (uint16_t) distance[lane];
		found++;
		lanes &= lanes - 1;
	}
	return found;
}

INLINE int
distance_body(const uint64_t *a, const uint64_t *b, int words)
{
	int			distance = 0;

	for (int word = 0; word < words; word++)
		distance += __builtin_popcountll(a[word] ^ b[word]);
	return distance;
}

INLINE void
contrast_body(CONTRAST_PARAMETERS)
{
	for (size_t i = 0; i < count; i++, records += stride)
		contrast[i] = (int16_t) (distance_body(records, left, words) -
								 distance_body(records, right, words));
}

INLINE int
select_body(SELECT_PARAMETERS)
{
	int			found = 0;

	for (int first = 0; first < count; first += HAMMING_LANES)
	{
		uint64_t	distance[HAMMING_LANES] = {0};
		unsigned	near = 0;

		for (int word = 0; word < words; word++, codes += HAMMING_LANES)
			for (int lane = 0; lane < HAMMING_LANES; lane++)
				distance[lane] += (uint64_t) __builtin_popcountll(codes[lane] ^ query[word]);
		for (int lane = 0; lane < HAMMING_LANES; lane++)
			near |= (unsigned) (distance[lane] <= limit) << lane;
		found = append_hits(hits, found, near & lanes_in_use(first, count), first, distance);
	}
	return found;
}

static bool
always_supported(void)
{
	return true;
}

static int
select_portable(SELECT_PARAMETERS)
{
	SELECT_BY_WORDS(select_body);
}

static void
contrast_portable(CONTRAST_PARAMETERS)
{
	contrast_body(records, stride, count, words, left, right, contrast);
}

static int
distance_portable(const uint64_t *a, const uint64_t *b, int words)
{
	return distance_body(a, b, words);
}

#ifdef HAMMING_X86

#define POPCNT __attribute__((target("popcnt")))
#define AVX2 __attribute__((target("avx2,popcnt")))
#define AVX512 __attribute__((target("avx512f,avx512vpopcntdq,popcnt")))

static bool
popcnt_supported(void)
{
	__builtin_cpu_init();
	return __builtin_cpu_supports("popcnt");
}

static bool
avx2_supported(void)
{
	return popcnt_supported() && __builtin_cpu_supports("avx2");
}

static bool
avx512_supported(void)
{
	return popcnt_supported() && __builtin_cpu_supports("avx512f") &&
		__builtin_cpu_supports("avx512vpopcntdq");
}

POPCNT static int
select_popcnt(SELECT_PARAMETERS)
{
	SELECT_BY_WORDS(select_body);
}

POPCNT static void
contrast_popcnt(CONTRAST_PARAMETERS)
{
	if (words == 1)
		contrast_body(records, stride, count, 1, left, right, contrast);
	else
		contrast_body(records, stride, count, words, left, right, contrast);
}

POPCNT static int
distance_popcnt(const uint64_t *a, const uint64_t *b, int words)
{
	return distance_body(a, b, words);
}

/* Set bits of each byte, by a table of half bytes (Mula, Kurz and Lemire, 2018). */
AVX2 INLINE __m256i
popcount_bytes(__m256i bytes)
{
	const __m256i table = _mm256_setr_epi8(0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4,
										   0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4);
	const __m256i low_half = _mm256_set1_epi8(0x0F);
	__m256i		low = _mm256_and_si256(bytes, low_half);
	__m256i		high = _mm256_and_si256(_mm256_srli_epi16(bytes, 4), low_half);

	return _mm256_add_epi8(_mm256_shuffle_epi8(table, low), _mm256_shuffle_epi8(table, high));
}

AVX2 INLINE int
select_avx2_body(SELECT_PARAMETERS)
{
	const __m256i zero = _mm256_setzero_si256();
	const __m256i beyond = _mm256_set1_epi64x((long long) limit + 1);
	int			found = 0;

	for (int first = 0; first < count; first += HAMMING_LANES)
	{
		/* A byte counts to 8 * HAMMING_MAX_WORDS = 128 at most. */
		__m256i		low = zero;
		__m256i		high = zero;
		uint64_t	distance[HAMMING_LANES];
		unsigned	near;

		for (int word = 0; word < words; word++, codes += HAMMING_LANES)
		{
			__m256i		q = _mm256_set1_epi64x((long long) query[word]);
			__m256i		a = _mm256_loadu_si256((const __m256i *) codes);
			__m256i		b = _mm256_loadu_si256((const __m256i *) (codes + 4));

			low = _mm256_add_epi8(low, popcount_bytes(_mm256_xor_si256(a, q)));
			high = _mm256_add_epi8(high, popcount_bytes(_mm256_xor_si256(b, q)));
		}
		low = _mm256_sad_epu8(low, zero);
		high = _mm256_sad_epu8(high, zero);
		near = (unsigned) _mm256_movemask_pd(_mm256_castsi256_pd(_mm256_cmpgt_epi64(beyond, low)));
		near |= (unsigned) _mm256_movemask_pd(_mm256_castsi256_pd(_mm256_cmpgt_epi64(beyond, high))) << 4;
		near &= lanes_in_use(first, count);
		if (near == 0)
			continue;
		_mm256_storeu_si256((__m256i *) distance, low);
		_mm256_storeu_si256((__m256i *) (distance + 4), high);
		found = append_hits(hits, found, near, first, distance);
	}
	return found;
}

AVX2 static int
select_avx2(SELECT_PARAMETERS)
{
	SELECT_BY_WORDS(select_avx2_body);
}

AVX512 INLINE int
select_avx512_body(SELECT_PARAMETERS)
{
	const __m512i farthest = _mm512_set1_epi64((long long) limit);
	int			found = 0;

	for (int first = 0; first < count; first += HAMMING_LANES)
	{
		__m512i		sum = _mm512_setzero_si512();
		uint64_t	distance[HAMMING_LANES];
		unsigned	near;

		for (int word = 0; word < words; word++, codes += HAMMING_LANES)
		{
			__m512i		q = _mm512_set1_epi64((long long) query[word]);
			__m512i		a = _mm512_loadu_si512(codes);

			sum = _mm512_add_epi64(sum, _mm512_popcnt_epi64(_mm512_xor_si512(a, q)));
		}
		near = _mm512_cmple_epu64_mask(sum, farthest) & lanes_in_use(first, count);
		if (near == 0)
			continue;
		_mm512_storeu_si512(distance, sum);
		found = append_hits(hits, found, near, first, distance);
	}
	return found;
}

AVX512 static int
select_avx512(SELECT_PARAMETERS)
{
	SELECT_BY_WORDS(select_avx512_body);
}

#endif							/* HAMMING_X86 */

#ifdef HAMMING_NEON

INLINE int
select_neon_body(SELECT_PARAMETERS)
{
	const uint64x2_t farthest = vdupq_n_u64(limit);
	int			found = 0;

	for (int first = 0; first < count; first += HAMMING_LANES)
	{
		/* A byte counts to 8 * HAMMING_MAX_WORDS = 128 at most. */
		uint8x16_t	bytes[4] = {vdupq_n_u8(0), vdupq_n_u8(0), vdupq_n_u8(0), vdupq_n_u8(0)};
		uint64_t	distance[HAMMING_LANES];
		unsigned	near = 0;

		for (int word = 0; word < words; word++, codes += HAMMING_LANES)
		{
			uint64x2_t	q = vdupq_n_u64(query[word]);

			for (int pair = 0; pair < 4; pair++)
			{
				uint64x2_t	differing = veorq_u64(vld1q_u64(codes + 2 * pair), q);

				bytes[pair] = vaddq_u8(bytes[pair], vcntq_u8(vreinterpretq_u8_u64(differing)));
			}
		}
		for (int pair = 0; pair < 4; pair++)
		{
			uint64x2_t	sum = vpaddlq_u32(vpaddlq_u16(vpaddlq_u8(bytes[pair])));
			uint64x2_t	is_near = vcleq_u64(sum, farthest);

			vst1q_u64(distance + 2 * pair, sum);
			near |= (unsigned) (vgetq_lane_u64(is_near, 0) & 1) << (2 * pair);
			near |= (unsigned) (vgetq_lane_u64(is_near, 1) & 1) << (2 * pair + 1);
		}
		found = append_hits(hits, found, near & lanes_in_use(first, count), first, distance);
	}
	return found;
}

static int
select_neon(SELECT_PARAMETERS)
{
	SELECT_BY_WORDS(select_neon_body);
}

#endif							/* HAMMING_NEON */

const HammingKernel hamming_kernels[] = {
#ifdef HAMMING_X86
	{"avx512-vpopcntdq", avx512_supported, select_avx512, contrast_popcnt, distance_popcnt},
	{"avx2", avx2_supported, select_avx2, contrast_popcnt, distance_popcnt},
	{"popcnt", popcnt_supported, select_popcnt, contrast_popcnt, distance_popcnt},
#endif
#ifdef HAMMING_NEON
	{"neon", always_supported, select_neon, contrast_portable, distance_portable},
#endif
	{"portable", always_supported, select_portable, contrast_portable, distance_portable},
};

const int	hamming_kernel_count = sizeof(hamming_kernels) / sizeof(hamming_kernels[0]);

const HammingKernel *
hamming_kernel(void)
{
	static const HammingKernel *best = NULL;

	if (best == NULL)
	{
		best = hamming_kernels;
		while (!best->supported())
			best++;
	}
	return best;
}
