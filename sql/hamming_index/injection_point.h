/*
 * Injection points, where tests hold a process to let others run or to kill it.
 *
 * In a release they compile to nothing.  In a library built with `make HAMMING_TEST=1` a session waits
 * at the point that its settings name; see injection_point.c.
 */
#ifndef HAMMING_INJECTION_POINT_H
#define HAMMING_INJECTION_POINT_H

#ifdef HAMMING_TEST
extern void hamming_define_injection_points(void);
extern void hamming_injection_point(const char *name);

#define HAMMING_INJECTION_POINT(name) hamming_injection_point(name)
#define HAMMING_DEFINE_INJECTION_POINTS() hamming_define_injection_points()
#else
#define HAMMING_INJECTION_POINT(name) ((void) 0)
#define HAMMING_DEFINE_INJECTION_POINTS() ((void) 0)
#endif

#endif
