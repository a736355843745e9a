/* What a test changes about the machine below a running daemon: the wall clock, what the disk says
 * to a write, and whether a thread that makes socket pairs survives it. Loaded into the daemon with
 * LD_PRELOAD; told what to do through a file that the test writes and the daemon has mapped. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

struct machine {
    volatile int64_t clock_offset_s; /* added to the wall clock */
    volatile int32_t write_errno;    /* what writing to a file of the database fails with; 0: it works */
    volatile int32_t bad_pairs;      /* socketpair() gives nonsense */
};

static struct machine calm;
static struct machine *machine = &calm;

__attribute__((constructor)) static void begin(void) {
    const char *path = getenv("TEST_MACHINE");
    int fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    if (fd < 0) return;
    void *mapped = mmap(NULL, sizeof *machine, PROT_READ, MAP_SHARED, fd, 0);
    close(fd);
    if (mapped != MAP_FAILED) machine = mapped;
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

int clock_gettime(clockid_t clock, struct timespec *now) {
    static __typeof__(&clock_gettime) real;
    if (!real) real = REAL(clock_gettime);
    int done = real(clock, now);
    if (done == 0 && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE))
        now->tv_sec += machine->clock_offset_s;
    return done;
}

int gettimeofday(struct timeval *now, void *zone) {
    static __typeof__(&gettimeofday) real;
    if (!real) real = REAL(gettimeofday);
    int done = real(now, zone);
    if (done == 0) now->tv_sec += machine->clock_offset_s;
    return done;
}

time_t time(time_t *into) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (into) *into = now.tv_sec;
    return now.tv_sec;
}

static int is_of_database(const char *path) {
    const char *name = strrchr(path, '/');
    return strncmp(name ? name + 1 : path, "hob.db", 6) == 0;
}

/* Whether a write to this descriptor has to fail; sets errno. */
static int fails(int fd) {
    int error = machine->write_errno;
    if (!error) return 0;
    char link[64], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0) return 0;
    path[length] = 0;
    if (!is_of_database(path)) return 0;
    errno = error;
    return 1;
}

#define GUARDED(result, name, parameters, arguments)                                               \
    result name parameters {                                                                       \
        static __typeof__(&name) real;                                                             \
        if (!real) real = REAL(name);                                                              \
        return fails(fd) ? -1 : real arguments;                                                    \
    }

GUARDED(ssize_t, write, (int fd, const void *bytes, size_t n), (fd, bytes, n))
GUARDED(ssize_t, pwrite, (int fd, const void *bytes, size_t n, off_t at), (fd, bytes, n, at))
GUARDED(ssize_t, pwrite64, (int fd, const void *bytes, size_t n, off64_t at), (fd, bytes, n, at))
GUARDED(int, ftruncate, (int fd, off_t n), (fd, n))
GUARDED(int, ftruncate64, (int fd, off64_t n), (fd, n))

int socketpair(int domain, int type, int protocol, int pair[2]) {
    static __typeof__(&socketpair) real;
    if (!real) real = REAL(socketpair);
    char thread[16] = "";
    pthread_getname_np(pthread_self(), thread, sizeof thread);
    if (!machine->bad_pairs || strcmp(thread, "hob-spawner") != 0) return real(domain, type, protocol, pair);
    pair[0] = pair[1] = -1;
    return 0;
}
