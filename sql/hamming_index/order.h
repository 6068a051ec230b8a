/*
 * Puts like codes side by side.
 *
 * Plain C, without the server: the unit tests run it under sanitizers.
 */
#ifndef HAMMING_ORDER_H
#define HAMMING_ORDER_H

#include "distance.h"

/*
 * Orders count records, each words + 1 words long and beginning with its code, so that like codes
 * share a leaf: leaf number i is the records from i * leaf on.  contrast is scratch space for
 * count values; pause is called now and then, and may leave by a long jump.
 */
extern void hamming_order(uint64_t *records, size_t count, int words, size_t leaf,
						  int16_t *contrast, void (*pause) (void));

#endif
