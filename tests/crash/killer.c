/*
 * Put under the program by LD_PRELOAD, this counts what the program does with its database and its
 * connections, and at one exact moment kills it, stops it, sends it SIGTERM, fills the disk or sets the clock.
 *
 *   CRASH_STORE   the database; files whose path begins so are its own
 *   CRASH_API, CRASH_LDAP   the ports of the two servers
 *   CRASH_WHAT    the letters of the events that count
 *   CRASH_AT      the number of the one that it happens at, from 1; 0 for none
 *   CRASH_HOW     before, half, after: killed there; stop: SIGSTOP before it; term: SIGTERM before
 *                 it; full: from it on nothing can be written to the database; leap: the clock is
 *                 right until then
 *   CRASH_TRACE   a file of zeros for struct trace, which outlives the process
 *   CRASH_CLOCK   so many seconds is the wall clock ahead
 *
 * Events: p a write to the database (or a file cut or removed), s a sync of it, r a request to the
 * API, a a piece of an answer, d a piece of what the directory says.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

enum how { NOT, BEFORE, HALF, AFTER, STOP, TERM, FULL, LEAP };

struct trace {
    _Atomic uint64_t all;     /* events of any kind */
    _Atomic uint64_t counted; /* those that count */
    char letters[];           /* of all of them, as far as there is room */
};

static struct trace *trace;
static uint64_t room, at;
static const char *store, *what;
static unsigned api, ldap;
static long ahead;
static _Atomic int is_ahead;
static enum how how;

static unsigned number(const char *name)
{
    const char *text = getenv(name);
    return text ? (unsigned)strtoul(text, NULL, 10) : 0;
}

__attribute__((constructor)) static void begin(void)
{
    static const char *const names[] = {"", "before", "half", "after", "stop", "term", "full", "leap"};
    const char *path = getenv("CRASH_TRACE"), *wish = getenv("CRASH_HOW");
    const char *clock = getenv("CRASH_CLOCK");
    struct stat there;
    if (clock)
        ahead = strtol(clock, NULL, 10);
    is_ahead = !wish || strcmp(wish, "leap");
    store = getenv("CRASH_STORE");
    what = getenv("CRASH_WHAT");
    if (!path || !store || !what)
        return;
    for (int i = 1; wish && i <= LEAP; i++)
        if (!strcmp(wish, names[i]))
            how = i;
    api = number("CRASH_API");
    ldap = number("CRASH_LDAP");
    at = number("CRASH_AT");
    int file = open(path, O_RDWR | O_CLOEXEC);
    if (file < 0 || fstat(file, &there))
        abort();
    void *map = mmap(NULL, (size_t)there.st_size, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    if (map == MAP_FAILED)
        abort();
    close(file);
    room = (uint64_t)there.st_size - sizeof(struct trace);
    trace = map;
}

static void end(void)
{
    kill(getpid(), SIGKILL);
    for (;;)
        pause();
}

/* An event comes up; what is to become of it. */
static enum how arrive(char kind)
{
    uint64_t n = atomic_fetch_add(&trace->all, 1);
    if (n < room)
        trace->letters[n] = kind;
    if (!strchr(what, kind))
        return NOT;
    uint64_t count = atomic_fetch_add(&trace->counted, 1) + 1;
    if (how == FULL)
        return at && count >= at ? FULL : NOT;
    if (count != at)
        return NOT;
    if (how == BEFORE)
        end();
    if (how == LEAP) {
        is_ahead = 1;
        return NOT;
    }
    if (how == STOP || how == TERM) {
        kill(getpid(), how == STOP ? SIGSTOP : SIGTERM);
        return NOT;
    }
    return how;
}

static void depart(enum how now)
{
    if (now == HALF || now == AFTER)
        end();
}

static size_t part(enum how now, size_t length)
{
    return now == HALF ? length / 2 : length;
}

static int is_path_of_store(const char *path)
{
    return trace && !strncmp(path, store, strlen(store));
}

static int is_store(int fd)
{
    char link[64], path[4096];
    if (!trace)
        return 0;
    strcpy(link, "/proc/self/fd/");
    char digits[16];
    int i = 0;
    unsigned rest = (unsigned)fd;
    do
        digits[i++] = (char)('0' + rest % 10);
    while (rest /= 10);
    size_t length = strlen(link);
    while (i)
        link[length++] = digits[--i];
    link[length] = 0;
    ssize_t size = readlink(link, path, sizeof path - 1);
    if (size < 0)
        return 0;
    path[size] = 0;
    return is_path_of_store(path);
}

/* The port at the other end of a connection; 0 if it is none. */
static unsigned peer(int fd)
{
    struct sockaddr_in address;
    socklen_t size = sizeof address;
    int saved = errno;
    unsigned port = 0;
    if (trace && !getpeername(fd, (struct sockaddr *)&address, &size) && address.sin_family == AF_INET)
        port = ntohs(address.sin_port);
    errno = saved;
    return port;
}

static enum how write_to(int fd)
{
    unsigned port = peer(fd);
    if (port)
        return port == api ? arrive('r') : NOT;
    return is_store(fd) ? arrive('p') : NOT;
}

/* Only what has brought something is an event: how often there was nothing yet is chance. */
static ssize_t have_read(int fd, ssize_t result)
{
    if (result > 0) {
        unsigned port = peer(fd);
        enum how now = port && port == api ? arrive('a') : port && port == ldap ? arrive('d') : NOT;
        depart(now);
    }
    return result;
}

static int no_room(void)
{
    errno = ENOSPC;
    return -1;
}

ssize_t pwrite64(int fd, const void *data, size_t length, off64_t offset)
{
    enum how now = is_store(fd) ? arrive('p') : NOT;
    if (now == FULL)
        return no_room();
    ssize_t result = syscall(SYS_pwrite64, fd, data, part(now, length), offset);
    depart(now);
    return result;
}

ssize_t pwrite(int fd, const void *data, size_t length, off_t offset)
{
    return pwrite64(fd, data, length, offset);
}

static int sync_by(long call, int fd)
{
    enum how now = is_store(fd) ? arrive('s') : NOT;
    if (now == HALF)
        end();
    int result = (int)syscall(call, fd);
    depart(now);
    return result;
}

int fsync(int fd)
{
    return sync_by(SYS_fsync, fd);
}

int fdatasync(int fd)
{
    return sync_by(SYS_fdatasync, fd);
}

int ftruncate64(int fd, off64_t length)
{
    enum how now = is_store(fd) ? arrive('p') : NOT;
    int result = (int)syscall(SYS_ftruncate, fd, length);
    depart(now);
    return result;
}

int ftruncate(int fd, off_t length)
{
    return ftruncate64(fd, length);
}

int unlink(const char *path)
{
    enum how now = is_path_of_store(path) ? arrive('p') : NOT;
    int result = (int)syscall(SYS_unlinkat, AT_FDCWD, path, 0);
    depart(now);
    return result;
}

ssize_t write(int fd, const void *data, size_t length)
{
    enum how now = write_to(fd);
    if (now == FULL)
        return no_room();
    ssize_t result = syscall(SYS_write, fd, data, part(now, length));
    depart(now);
    return result;
}

ssize_t writev(int fd, const struct iovec *parts, int count)
{
    enum how now = write_to(fd);
    if (now == FULL)
        return no_room();
    if (now == HALF) {
        /* Half of the first part stands for half of it all. */
        syscall(SYS_write, fd, parts[0].iov_base, parts[0].iov_len / 2);
        end();
    }
    ssize_t result = syscall(SYS_writev, fd, parts, count);
    depart(now);
    return result;
}

ssize_t sendto(int fd, const void *data, size_t length, int flags, const struct sockaddr *to, socklen_t size)
{
    enum how now = write_to(fd);
    ssize_t result = syscall(SYS_sendto, fd, data, part(now, length), flags, to, size);
    depart(now);
    return result;
}

ssize_t send(int fd, const void *data, size_t length, int flags)
{
    return sendto(fd, data, length, flags, NULL, 0);
}

ssize_t sendmsg(int fd, const struct msghdr *message, int flags)
{
    enum how now = write_to(fd);
    if (now == HALF)
        now = AFTER;
    ssize_t result = syscall(SYS_sendmsg, fd, message, flags);
    depart(now);
    return result;
}

ssize_t read(int fd, void *data, size_t length)
{
    return have_read(fd, syscall(SYS_read, fd, data, length));
}

ssize_t readv(int fd, const struct iovec *parts, int count)
{
    return have_read(fd, syscall(SYS_readv, fd, parts, count));
}

ssize_t recvfrom(int fd, void *data, size_t length, int flags, struct sockaddr *from, socklen_t *size)
{
    ssize_t result = syscall(SYS_recvfrom, fd, data, length, flags, from, size);
    return flags & MSG_PEEK ? result : have_read(fd, result);
}

ssize_t recv(int fd, void *data, size_t length, int flags)
{
    return recvfrom(fd, data, length, flags, NULL, NULL);
}

ssize_t recvmsg(int fd, struct msghdr *message, int flags)
{
    ssize_t result = syscall(SYS_recvmsg, fd, message, flags);
    return flags & MSG_PEEK ? result : have_read(fd, result);
}

int clock_gettime(clockid_t clock, struct timespec *time)
{
    int result = (int)syscall(SYS_clock_gettime, clock, time);
    if (!result && clock == CLOCK_REALTIME && is_ahead)
        time->tv_sec += ahead;
    return result;
}
