/*
 * Points where tests hold a process, to let others come between or to kill it there.
 *
 * In a release a point is nothing.  In a library built with `make HAMMING_TEST=1` a session waits at
 * the point that it has named; see point.c.
 */
#ifndef HAMMING_POINT_H
#define HAMMING_POINT_H

#ifdef HAMMING_TEST
extern void hamming_define_points(void);
extern void hamming_point(const char *name);

#define HAMMING_POINT(name) hamming_point(name)
#define HAMMING_DEFINE_POINTS() hamming_define_points()
#else
#define HAMMING_POINT(name) ((void) 0)
#define HAMMING_DEFINE_POINTS() ((void) 0)
#endif

#endif
