/* Stands between a process and the C library: notes what is done to the files below one folder, and makes it fail.

   Loaded by LD_PRELOAD, built by disk_shim.py, which also says what is understood of the notes.

   RECORDER_ROOT  the folder; files outside of it are not looked at.
   RECORDER_LOG   the file that notes are appended to; without it nothing is noted.

   A note is written after what it tells of has been done, by a single write, so notes of several threads do not mix.
   Memory that is mapped is not seen: LMDB's lock file is written so, and nothing else may be.

   recorder_mark() adds a note of the program's own. recorder_fail() makes one or more of the next calls of a kind fail.
   Lock files (lock.mdb, *.owner.lock) are never failed: what is tested is the data. */
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
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#define REAL(result, name, ...)                          \
    static result (*real)(__VA_ARGS__);                  \
    if (!real) *(void **)&real = dlsym(RTLD_NEXT, name)

enum { FILES = 4096 };
enum note { WRITE = 1, DURABLE_WRITE, SYNC, RESIZE, CREATE, FOLDER, RENAME, REMOVE, MARK, FAILED_SYNC };
enum kind { NOT_OURS, LOCK_FILE, PLAIN, DURABLE };
enum fault { DATA, META, FORCE, FAULTS };
/* Not done at all; half of it; done, and said to have failed; that, and nothing works any more. */
enum manner { UNDONE, HALF, DONE, LAST };

struct header { uint32_t magic, note; uint64_t inode, offset, bytes; };

static unsigned char kinds[FILES];
static struct { int after, times, error; enum manner manner; } faults[FAULTS];
static int failed;
static pthread_mutex_t guard = PTHREAD_MUTEX_INITIALIZER;

static const char *root(void) {
    static const char *value;
    if (!value && !(value = getenv("RECORDER_ROOT"))) value = "/nowhere/at/all";
    return value;
}

static int ours(const char *path) {
    size_t length = strlen(root());
    return path && !strncmp(path, root(), length) && (path[length] == '/' || !path[length]);
}

static int ends(const char *path, const char *tail) {
    size_t length = strlen(path), end = strlen(tail);
    return length >= end && !strcmp(path + length - end, tail);
}

static enum kind kind_of(int fd) { return fd >= 0 && fd < FILES ? kinds[fd] : NOT_OURS; }

static uint64_t inode_of(int fd) {
    struct stat found;
    return fstat(fd, &found) ? 0 : found.st_ino;
}

static void take_down(enum note what, uint64_t inode, uint64_t offset, const void *data, uint64_t bytes) {
    REAL(ssize_t, "writev", int, const struct iovec *, int);
    static int log = -2;
    pthread_mutex_lock(&guard);
    if (log == -2) {
        int (*plain_open)(const char *, int, ...);
        *(void **)&plain_open = dlsym(RTLD_NEXT, "open");
        const char *path = getenv("RECORDER_LOG");
        log = path ? plain_open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600) : -1;
    }
    struct header header = {0x50455244, what, inode, offset, bytes};
    struct iovec parts[2] = {{&header, sizeof header}, {(void *)data, bytes}};
    if (log >= 0 && real(log, parts, bytes ? 2 : 1) != (ssize_t)(sizeof header + bytes)) abort();
    pthread_mutex_unlock(&guard);
}

/* What shall become of a call: -1 if nothing, else the manner in which it fails. */
static int fate(enum fault kind) {
    int found = -1;
    pthread_mutex_lock(&guard);
    if (faults[kind].times && --faults[kind].after < 0) {
        if (faults[kind].times > 0) faults[kind].times--;
        found = (int)faults[kind].manner;
        failed++;
    }
    pthread_mutex_unlock(&guard);
    return found;
}

static int refuse(enum fault kind, int how) {
    pthread_mutex_lock(&guard);
    for (int other = 0; how == LAST && other < FAULTS; other++) {
        faults[other].after = 0, faults[other].times = -1;
        faults[other].error = faults[kind].error, faults[other].manner = UNDONE;
    }
    pthread_mutex_unlock(&guard);
    errno = faults[kind].error;
    return -1;
}

/* --- what the program calls */

void recorder_mark(const void *data, uint64_t bytes) { take_down(MARK, 0, 0, data, bytes); }

/* After so many calls of a kind that go well, the next ones fail: so many times, or for good if that is negative. */
void recorder_fail(int kind, int after, int times, int error, int manner) {
    pthread_mutex_lock(&guard);
    faults[kind].after = after, faults[kind].times = times;
    faults[kind].error = error, faults[kind].manner = (enum manner)manner;
    pthread_mutex_unlock(&guard);
}

/* How many calls were made to fail so far. */
int recorder_failed(void) { return failed; }

/* --- names */

static int opened(const char *path, int flags, int fd, int existed) {
    if (fd < 0 || fd >= FILES) return fd;
    kinds[fd] = NOT_OURS;
    if (!ours(path)) return fd;
    int lock = ends(path, "/lock.mdb") || ends(path, ".owner.lock");
    kinds[fd] = lock ? LOCK_FILE : (flags & O_DSYNC) ? DURABLE : PLAIN;
    if (!existed) take_down(CREATE, inode_of(fd), 0, path, strlen(path));
    if (flags & O_TRUNC && existed) take_down(RESIZE, inode_of(fd), 0, NULL, 0);
    return fd;
}

#define OPEN(name)                                                        \
    int name(const char *path, int flags, ...) {                          \
        REAL(int, #name, const char *, int, ...);                         \
        va_list rest;                                                     \
        va_start(rest, flags);                                            \
        int mode = va_arg(rest, int);                                     \
        va_end(rest);                                                     \
        int existed = !ours(path) || !access(path, F_OK);                 \
        return opened(path, flags, real(path, flags, mode), existed);     \
    }
OPEN(open)
OPEN(open64)

int close(int fd) {
    REAL(int, "close", int);
    if (fd >= 0 && fd < FILES) kinds[fd] = NOT_OURS;
    return real(fd);
}

int mkdir(const char *path, mode_t mode) {
    REAL(int, "mkdir", const char *, mode_t);
    struct stat found;
    int result = real(path, mode);
    if (!result && ours(path) && !stat(path, &found)) take_down(FOLDER, found.st_ino, 0, path, strlen(path));
    return result;
}

int rename(const char *from, const char *to) {
    REAL(int, "rename", const char *, const char *);
    int result = real(from, to);
    if (!result && (ours(from) || ours(to))) {
        char both[8192];
        int length = snprintf(both, sizeof both, "%s\n%s", from, to);
        take_down(RENAME, 0, 0, both, (uint64_t)length);
    }
    return result;
}

int unlink(const char *path) {
    REAL(int, "unlink", const char *);
    int result = real(path);
    if (!result && ours(path)) take_down(REMOVE, 0, 0, path, strlen(path));
    return result;
}

/* --- contents */

static ssize_t wrote(int fd, const void *data, ssize_t done, uint64_t offset) {
    if (done > 0 && kind_of(fd) != LOCK_FILE)
        take_down(kind_of(fd) == DURABLE ? DURABLE_WRITE : WRITE, inode_of(fd), offset, data, (uint64_t)done);
    return done;
}

ssize_t pwrite64(int fd, const void *data, size_t bytes, off64_t offset) {
    REAL(ssize_t, "pwrite64", int, const void *, size_t, off64_t);
    if (kind_of(fd) < PLAIN) return real(fd, data, bytes, offset);
    enum fault kind = kind_of(fd) == DURABLE ? META : DATA;
    int how = fate(kind);
    if (how == UNDONE) return refuse(kind, how);
    if (how == HALF) return wrote(fd, data, real(fd, data, bytes / 2, offset), (uint64_t)offset);
    ssize_t done = wrote(fd, data, real(fd, data, bytes, offset), (uint64_t)offset);
    return how >= DONE ? refuse(kind, how) : done;
}

ssize_t pwrite(int fd, const void *data, size_t bytes, off_t offset) { return pwrite64(fd, data, bytes, offset); }

ssize_t write(int fd, const void *data, size_t bytes) {
    REAL(ssize_t, "write", int, const void *, size_t);
    if (kind_of(fd) < PLAIN) return real(fd, data, bytes);
    ssize_t done = pwrite64(fd, data, bytes, lseek64(fd, 0, SEEK_CUR));
    if (done > 0) lseek64(fd, done, SEEK_CUR);
    return done;
}

static ssize_t gathered(int fd, const struct iovec *parts, int count, off64_t offset) {
    size_t bytes = 0;
    for (int i = 0; i < count; i++) bytes += parts[i].iov_len;
    char *all = malloc(bytes + 1), *at = all;
    for (int i = 0; i < count; at += parts[i++].iov_len) memcpy(at, parts[i].iov_base, parts[i].iov_len);
    ssize_t done = pwrite64(fd, all, bytes, offset);
    int error = errno;
    free(all);
    errno = error;
    return done;
}

ssize_t writev(int fd, const struct iovec *parts, int count) {
    REAL(ssize_t, "writev", int, const struct iovec *, int);
    if (kind_of(fd) < PLAIN) return real(fd, parts, count);
    ssize_t done = gathered(fd, parts, count, lseek64(fd, 0, SEEK_CUR));
    if (done > 0) lseek64(fd, done, SEEK_CUR);
    return done;
}

ssize_t pwritev64(int fd, const struct iovec *parts, int count, off64_t offset) {
    REAL(ssize_t, "pwritev64", int, const struct iovec *, int, off64_t);
    return kind_of(fd) < PLAIN ? real(fd, parts, count, offset) : gathered(fd, parts, count, offset);
}

ssize_t pwritev(int fd, const struct iovec *parts, int count, off_t offset) { return pwritev64(fd, parts, count, offset); }

int ftruncate64(int fd, off64_t size) {
    REAL(int, "ftruncate64", int, off64_t);
    int result = real(fd, size);
    if (!result && kind_of(fd) >= PLAIN) take_down(RESIZE, inode_of(fd), (uint64_t)size, NULL, 0);
    return result;
}

int ftruncate(int fd, off_t size) { return ftruncate64(fd, size); }

static int forced(int fd, int (*real)(int)) {
    if (kind_of(fd) < PLAIN) return real(fd);
    int how = fate(FORCE);
    if (how == UNDONE || how == HALF) {
        take_down(FAILED_SYNC, inode_of(fd), 0, NULL, 0);
        return refuse(FORCE, how);
    }
    int result = real(fd);
    if (!result) take_down(SYNC, inode_of(fd), 0, NULL, 0);
    return how >= DONE ? refuse(FORCE, how) : result;
}

int fdatasync(int fd) { REAL(int, "fdatasync", int); return forced(fd, real); }
int fsync(int fd) { REAL(int, "fsync", int); return forced(fd, real); }
