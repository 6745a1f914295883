/* Loaded into a server: writes down the inode and the size of each file that fsync or fdatasync has brought to the disk.
   It calls the kernel itself, so that it fits any libc. */
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/syscall.h>

extern long syscall(long, ...);
extern char *getenv(const char *);

static int flushed(long verb, int file) {
    struct stat before;
    long known = syscall(SYS_fstat, file, &before);
    long result = syscall(verb, file);
    if (result == 0 && known == 0) {
        long log = syscall(SYS_openat, AT_FDCWD, getenv("FSYNC_LOG"), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
        if (log >= 0) {
            unsigned long record[2] = {before.st_ino, before.st_size};
            syscall(SYS_write, log, record, sizeof record);
            syscall(SYS_close, log);
        }
    }
    return (int)result;
}

int fsync(int file) { return flushed(SYS_fsync, file); }
int fdatasync(int file) { return flushed(SYS_fdatasync, file); }
