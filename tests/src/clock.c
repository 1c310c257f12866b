/* Shifts the wall clock of one process: preloaded into it, this answers for the C
 * library. The shift, in seconds, is the first 8 bytes of the file that
 * OUTRIGGER_TEST_CLOCK names; it may change at any time, and the clock then jumps.
 * The monotonic clock is left alone.
 *
 * A wait on a condition variable until a time of the wall clock ends when that clock
 * says so, as with the kernel's: it is made of short waits between which the clock
 * is looked at. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <threads.h>
#include <time.h>
#include <unistd.h>

static const int64_t *shift;

__attribute__((constructor)) static void begin(void) {
    const char *name = getenv("OUTRIGGER_TEST_CLOCK");
    int file = name ? open(name, O_RDONLY | O_CLOEXEC) : -1;
    if (file < 0)
        _exit(99);
    void *page = mmap(NULL, sizeof *shift, PROT_READ, MAP_SHARED, file, 0);
    if (page == MAP_FAILED)
        _exit(99);
    close(file);
    shift = page;
}

int clock_gettime(clockid_t clock, struct timespec *now) {
    int result = (int)syscall(SYS_clock_gettime, clock, now);
    if (result == 0 && shift && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE))
        now->tv_sec += __atomic_load_n(shift, __ATOMIC_RELAXED);
    return result;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone) {
    (void)zone;
    struct timespec precise;
    clock_gettime(CLOCK_REALTIME, &precise);
    now->tv_sec = precise.tv_sec;
    now->tv_usec = precise.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *result) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (result)
        *result = now.tv_sec;
    return now.tv_sec;
}

int timespec_get(struct timespec *now, int base) {
    if (base != TIME_UTC)
        return 0;
    clock_gettime(CLOCK_REALTIME, now);
    return base;
}

int pthread_cond_timedwait(pthread_cond_t *restrict condition, pthread_mutex_t *restrict mutex,
                           const struct timespec *restrict until) {
    for (;;) {
        struct timespec wall, next;
        clock_gettime(CLOCK_REALTIME, &wall);
        int64_t left = (until->tv_sec - wall.tv_sec) * INT64_C(1000000000) + until->tv_nsec - wall.tv_nsec;
        if (left <= 0)
            return ETIMEDOUT;
        int64_t part = left < 20000000 ? left : 20000000;
        clock_gettime(CLOCK_MONOTONIC, &next);
        next.tv_nsec += part;
        if (next.tv_nsec >= 1000000000) {
            next.tv_nsec -= 1000000000;
            next.tv_sec++;
        }
        int result = pthread_cond_clockwait(condition, mutex, CLOCK_MONOTONIC, &next);
        if (result != ETIMEDOUT)
            return result;
    }
}

/* The same under the names of C11, which librdkafka uses: in the GNU C library these
 * types are those of POSIX. */
int cnd_timedwait(cnd_t *restrict condition, mtx_t *restrict mutex, const struct timespec *restrict until) {
    switch (pthread_cond_timedwait((pthread_cond_t *)condition, (pthread_mutex_t *)mutex, until)) {
    case 0:
        return thrd_success;
    case ETIMEDOUT:
        return thrd_timedout;
    default:
        return thrd_error;
    }
}
