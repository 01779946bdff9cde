/* Put before libc by LD_PRELOAD: the k-th write below a folder fails, or the clock is shifted. Built by tests/faults/preloading.py.
 *
 * fault_arm(folder, k, errno, ever): from now on count writes, syncs, truncations, renames and creations below folder; the k-th fails
 * (with ever: it and all after it). k = 0 counts alone. fault_count(): how many there were. AIPRIME_CLOCK_SHIFT: seconds, of the wall
 * clock alone; where it names a file, the seconds are read from that at each look.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <sys/types.h>
#include <time.h>
#include <unistd.h>

static char below[4096];
static long at, seen;
static int with, ever, armed;

void fault_arm(const char *folder, long k, int number, int forever) {
    snprintf(below, sizeof below, "%s", folder);
    at = k, seen = 0, with = number, ever = forever, armed = 1;
}
long fault_count(void) { armed = 0; return seen; }

static int fails(const char *path) {
    if (!armed || !path || strncmp(path, below, strlen(below))) return 0;
    seen++;
    if (!at || !(ever ? seen >= at : seen == at)) return 0;
    errno = with;
    return 1;
}
static int fails_at(int fd) {
    char link[64], path[4096];
    if (!armed) return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0) return 0;
    path[length] = 0;
    return fails(path);
}
#define REAL(name) static __typeof__(name) *real; if (!real) real = dlsym(RTLD_NEXT, #name)

ssize_t write(int fd, const void *from, size_t n) { REAL(write); return fails_at(fd) ? -1 : real(fd, from, n); }
ssize_t pwrite(int fd, const void *from, size_t n, off_t to) { REAL(pwrite); return fails_at(fd) ? -1 : real(fd, from, n, to); }
ssize_t pwrite64(int fd, const void *from, size_t n, off64_t to) { REAL(pwrite64); return fails_at(fd) ? -1 : real(fd, from, n, to); }
int fsync(int fd) { REAL(fsync); return fails_at(fd) ? -1 : real(fd); }
int fdatasync(int fd) { REAL(fdatasync); return fails_at(fd) ? -1 : real(fd); }
int ftruncate(int fd, off_t to) { REAL(ftruncate); return fails_at(fd) ? -1 : real(fd, to); }
int ftruncate64(int fd, off64_t to) { REAL(ftruncate64); return fails_at(fd) ? -1 : real(fd, to); }
int rename(const char *from, const char *to) { REAL(rename); return fails(to) ? -1 : real(from, to); }

#define OPENING(name) \
    int name(const char *path, int flags, ...) { \
        static int (*real)(const char *, int, ...); \
        if (!real) real = (int (*)(const char *, int, ...))dlsym(RTLD_NEXT, #name); \
        va_list more; va_start(more, flags); mode_t mode = (flags & O_CREAT) ? va_arg(more, mode_t) : 0; va_end(more); \
        return (flags & O_CREAT) && access(path, F_OK) && fails(path) ? -1 : real(path, flags, mode); \
    }
OPENING(open)
OPENING(open64)

static double shift(void) {
    const char *said = getenv("AIPRIME_CLOCK_SHIFT");
    if (!said) return 0;
    if (*said != '/') return atof(said);
    char text[64] = "";
    REAL(open);
    int file = real(said, O_RDONLY);
    if (file < 0) return 0;
    ssize_t length = read(file, text, sizeof text - 1);
    close(file);
    return length > 0 ? atof(text) : 0;
}
int clock_gettime(clockid_t clock, struct timespec *now) {
    REAL(clock_gettime);
    int done = real(clock, now);
    if (!done && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) now->tv_sec += (time_t)shift();
    return done;
}
int gettimeofday(struct timeval *now, void *zone) {
    REAL(gettimeofday);
    int done = real(now, zone);
    if (!done) now->tv_sec += (time_t)shift();
    return done;
}
time_t time(time_t *into) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (into) *into = now.tv_sec;
    return now.tv_sec;
}
