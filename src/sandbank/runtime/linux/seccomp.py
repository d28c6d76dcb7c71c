"""The seccomp filter of every sandbox: an allow-list, assembled here, installed once per sandbox by its pid 1.

A filter sees numbers and scalar arguments, never what pointers lead to. So `clone3`, whose flags lie in memory, does not exist inside
(the C library then falls back to `clone`, whose flags are checked), and everything newer than this table is answered as an old kernel
would: ENOSYS.
"""

from __future__ import annotations

import ctypes
import errno
import functools
import platform
import struct
from collections.abc import Iterable

from sandbank.runtime.linux.libc import check, libc

# x86_64 system calls by number: 0 to 334, then from 424 on (asm/unistd_64.h).
_FROM_0 = """
    read write open close stat fstat lstat poll lseek mmap mprotect munmap brk rt_sigaction rt_sigprocmask rt_sigreturn ioctl
    pread64 pwrite64 readv writev access pipe select sched_yield mremap msync mincore madvise shmget shmat shmctl dup dup2 pause
    nanosleep getitimer alarm setitimer getpid sendfile socket connect accept sendto recvfrom sendmsg recvmsg shutdown bind listen
    getsockname getpeername socketpair setsockopt getsockopt clone fork vfork execve exit wait4 kill uname semget semop semctl shmdt
    msgget msgsnd msgrcv msgctl fcntl flock fsync fdatasync truncate ftruncate getdents getcwd chdir fchdir rename mkdir rmdir creat
    link unlink symlink readlink chmod fchmod chown fchown lchown umask gettimeofday getrlimit getrusage sysinfo times ptrace getuid
    syslog getgid setuid setgid geteuid getegid setpgid getppid getpgrp setsid setreuid setregid getgroups setgroups setresuid
    getresuid setresgid getresgid getpgid setfsuid setfsgid getsid capget capset rt_sigpending rt_sigtimedwait rt_sigqueueinfo
    rt_sigsuspend sigaltstack utime mknod uselib personality ustat statfs fstatfs sysfs getpriority setpriority sched_setparam
    sched_getparam sched_setscheduler sched_getscheduler sched_get_priority_max sched_get_priority_min sched_rr_get_interval mlock
    munlock mlockall munlockall vhangup modify_ldt pivot_root _sysctl prctl arch_prctl adjtimex setrlimit chroot sync acct
    settimeofday mount umount2 swapon swapoff reboot sethostname setdomainname iopl ioperm create_module init_module delete_module
    get_kernel_syms query_module quotactl nfsservctl getpmsg putpmsg afs_syscall tuxcall security gettid readahead setxattr
    lsetxattr fsetxattr getxattr lgetxattr fgetxattr listxattr llistxattr flistxattr removexattr lremovexattr fremovexattr tkill
    time futex sched_setaffinity sched_getaffinity set_thread_area io_setup io_destroy io_getevents io_submit io_cancel
    get_thread_area lookup_dcookie epoll_create epoll_ctl_old epoll_wait_old remap_file_pages getdents64 set_tid_address
    restart_syscall semtimedop fadvise64 timer_create timer_settime timer_gettime timer_getoverrun timer_delete clock_settime
    clock_gettime clock_getres clock_nanosleep exit_group epoll_wait epoll_ctl tgkill utimes vserver mbind set_mempolicy
    get_mempolicy mq_open mq_unlink mq_timedsend mq_timedreceive mq_notify mq_getsetattr kexec_load waitid add_key request_key
    keyctl ioprio_set ioprio_get inotify_init inotify_add_watch inotify_rm_watch migrate_pages openat mkdirat mknodat fchownat
    futimesat newfstatat unlinkat renameat linkat symlinkat readlinkat fchmodat faccessat pselect6 ppoll unshare set_robust_list
    get_robust_list splice tee sync_file_range vmsplice move_pages utimensat epoll_pwait signalfd timerfd_create eventfd fallocate
    timerfd_settime timerfd_gettime accept4 signalfd4 eventfd2 epoll_create1 dup3 pipe2 inotify_init1 preadv pwritev
    rt_tgsigqueueinfo perf_event_open recvmmsg fanotify_init fanotify_mark prlimit64 name_to_handle_at open_by_handle_at
    clock_adjtime syncfs sendmmsg setns getcpu process_vm_readv process_vm_writev kcmp finit_module sched_setattr sched_getattr
    renameat2 seccomp getrandom memfd_create kexec_file_load bpf execveat userfaultfd membarrier mlock2 copy_file_range preadv2
    pwritev2 pkey_mprotect pkey_alloc pkey_free statx io_pgetevents rseq
""".split()
_FROM_424 = """
    pidfd_send_signal io_uring_setup io_uring_enter io_uring_register open_tree move_mount fsopen fsconfig fsmount fspick pidfd_open
    clone3 close_range openat2 pidfd_getfd faccessat2 process_madvise epoll_pwait2 mount_setattr quotactl_fd landlock_create_ruleset
    landlock_add_rule landlock_restrict_self memfd_secret process_mrelease futex_waitv set_mempolicy_home_node
""".split()
NUMBERS = {name: number for number, name in enumerate(_FROM_0)} | {name: 424 + index for index, name in enumerate(_FROM_424)}

# Known calls that a sandbox has no business with: mounts, namespaces, modules, keys, tracing of the kernel, clocks, and the interfaces with
# the longest record of holes. Everything else in the table is allowed, some of it by argument (`_by_argument`).
REFUSED = frozenset(
    """
    _sysctl acct add_key afs_syscall bpf clock_settime create_module delete_module fanotify_init fanotify_mark finit_module fsconfig
    fsmount fsopen fspick get_kernel_syms getpmsg init_module io_uring_enter io_uring_register io_uring_setup ioperm iopl kcmp
    kexec_file_load kexec_load keyctl lookup_dcookie migrate_pages modify_ldt mount mount_setattr move_mount move_pages nfsservctl
    open_by_handle_at open_tree perf_event_open pivot_root process_madvise putpmsg query_module quotactl quotactl_fd reboot
    request_key security set_mempolicy_home_node setdomainname sethostname setns settimeofday swapoff swapon sysfs syslog tuxcall
    umount2 unshare uselib userfaultfd ustat vhangup vserver
""".split()
)

_LOAD_WORD, _JUMP, _JUMP_EQUAL, _JUMP_GREATER, _JUMP_GREATER_EQUAL, _JUMP_ANY_BIT, _RETURN = 0x20, 0x05, 0x15, 0x25, 0x35, 0x45, 0x06
_OFFSET_NUMBER, _OFFSET_ARCHITECTURE, _OFFSET_ARGUMENTS = 0, 4, 16
_ALLOW, _ERRNO = 0x7FFF0000, 0x00050000
_AUDIT_ARCH_X86_64 = 0xC000003E
_X32_BIT = 0x40000000

# CLONE_NEWTIME, NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET. A new user namespace gives its maker every capability in it,
# and with them most of the kernel's attack surface.
_CLONE_NAMESPACES = 0x80 | 0x20000 | 0x2000000 | 0x4000000 | 0x8000000 | 0x10000000 | 0x20000000 | 0x40000000
_AF_UNIX, _AF_INET, _AF_INET6, _AF_NETLINK, _NETLINK_ROUTE = 1, 2, 10, 16, 0
# By default, ICMP (ping without privileges), TCP, UDP, ICMPv6. Asking for another one makes kernels load SCTP, DCCP, L2TP and their like.
_INTERNET_PROTOCOLS = (0, 1, 6, 17, 58)
_SOL_TCP, _TCP_ULP = 6, 31
_RLIMIT_CORE = 4
_TIOCSTI, _TIOCLINUX = 0x5412, 0x541C
# Linux, 32-bit naming, no randomisation (debuggers), and the question what it is.
_PERSONALITIES = (0x0, 0x8, 0x20000, 0x20008, 0x40000, 0xFFFFFFFF)

Instruction = tuple[int, int, int, int]  # code, jump if true, jump if false, constant


def _fail(number: int) -> Instruction:
    return (_RETURN, 0, 0, _ERRNO | number)


_PASS: Instruction = (_RETURN, 0, 0, _ALLOW)
_PRETEND: Instruction = _fail(0)  # nothing is done, and the caller sees success


def _argument(index: int) -> Instruction:
    # The low half; the high half of these arguments (flags, families, requests) is ignored by the kernel too.
    return (_LOAD_WORD, 0, 0, _OFFSET_ARGUMENTS + 8 * index)


def _high_half(index: int) -> Instruction:
    return (_LOAD_WORD, 0, 0, _OFFSET_ARGUMENTS + 8 * index + 4)


def _one_of(values: Iterable[int], otherwise: int) -> list[Instruction]:
    listed = list(values)
    compares = [(_JUMP_EQUAL, len(listed) - index, 0, value) for index, value in enumerate(listed)]
    return [*compares, _fail(otherwise), _PASS]


def _sockets() -> list[Instruction]:
    internet = [_argument(2), *_one_of(_INTERNET_PROTOCOLS, errno.EPROTONOSUPPORT)]
    return [
        _argument(0),
        (_JUMP_EQUAL, 0, 1, _AF_UNIX),
        _PASS,
        (_JUMP_EQUAL, 1, 0, _AF_INET),
        (_JUMP_EQUAL, 0, len(internet), _AF_INET6),
        *internet,
        (_JUMP_EQUAL, 0, 2, _AF_NETLINK),
        _argument(2),
        (_JUMP_EQUAL, 1, 0, _NETLINK_ROUTE),
        _fail(errno.EAFNOSUPPORT),
        _PASS,
    ]


def _core_size(resource: int, new: int, old: int | None) -> list[Instruction]:
    """Setting the limit of core files does nothing. It is 1 for good: the one value at which the kernel starts no program of the node's
    (`core_pattern` beginning with a pipe), where 0 would start it. Asking what it was in the same call cannot be answered from here."""
    set_and_asked = (
        [] if old is None else [_argument(old), (_JUMP_EQUAL, 0, 2, 0), _high_half(old), (_JUMP_EQUAL, 1, 0, 0), _fail(errno.EPERM)]
    )
    is_set = [*set_and_asked, _PRETEND]
    return [
        _argument(resource),
        (_JUMP_EQUAL, 0, 4 + len(is_set), _RLIMIT_CORE),
        _argument(new),
        (_JUMP_EQUAL, 0, 2, 0),
        _high_half(new),
        (_JUMP_EQUAL, len(is_set), 0, 0),
        *is_set,
        _PASS,
    ]


def _by_argument() -> dict[str, list[Instruction]]:
    """Blocks that decide by an argument; each ends in a return on every path."""
    return {
        "clone": [_argument(0), (_JUMP_ANY_BIT, 0, 1, _CLONE_NAMESPACES), _fail(errno.EPERM), _PASS],
        "clone3": [_fail(errno.ENOSYS)],
        "socket": _sockets(),
        "setsockopt": [  # protocols on top of TCP in the kernel, TLS and SMC
            _argument(1),
            (_JUMP_EQUAL, 0, 3, _SOL_TCP),
            _argument(2),
            (_JUMP_EQUAL, 0, 1, _TCP_ULP),
            _fail(errno.ENOENT),
            _PASS,
        ],
        # `fs.aio-max-nr` is one number for the whole node, and one process could use it up.
        "io_setup": [_fail(errno.ENOSYS)],
        # Every file system of the node would be flushed. Nothing that a sandbox writes outlives a crash of the node anyway.
        "sync": [_PRETEND],
        "syncfs": [_PRETEND],
        "setrlimit": _core_size(0, 1, None),
        "prlimit64": _core_size(1, 2, 3),
        "ioctl": [
            _argument(1),
            (_JUMP_EQUAL, 1, 0, _TIOCSTI),
            (_JUMP_EQUAL, 0, 1, _TIOCLINUX),
            _fail(errno.EPERM),
            _PASS,
        ],
        "personality": [_argument(0), *_one_of(_PERSONALITIES, errno.EPERM)],
    }


def _ranges(numbers: Iterable[int]) -> list[tuple[int, int]]:
    merged: list[tuple[int, int]] = []
    for number in sorted(numbers):
        if merged and merged[-1][1] == number - 1:
            merged[-1] = (merged[-1][0], number)
        else:
            merged.append((number, number))
    return merged


@functools.cache
def program() -> bytes:
    """The filter as an array of `struct sock_filter`."""
    special = _by_argument()
    code: list[Instruction] = [
        (_LOAD_WORD, 0, 0, _OFFSET_ARCHITECTURE),
        (_JUMP_EQUAL, 1, 0, _AUDIT_ARCH_X86_64),
        _fail(errno.ENOSYS),  # the 32-bit entry points
        (_LOAD_WORD, 0, 0, _OFFSET_NUMBER),
        (_JUMP_GREATER_EQUAL, 0, 1, _X32_BIT),
        _fail(errno.ENOSYS),
    ]
    for name, block in special.items():
        code += [(_JUMP_EQUAL, 0, len(block), NUMBERS[name]), *block]
    allowed = _ranges(number for name, number in NUMBERS.items() if name not in REFUSED and name not in special)
    for low, high in allowed:
        # Sorted, so a number that is below this range and above the last one is refused: jump on to the end only from there.
        code += [(_JUMP_GREATER, 2, 0, high), (_JUMP_GREATER_EQUAL, 0, 1, low), _PASS]
    code += [(_JUMP_GREATER, 0, 1, max(NUMBERS.values())), _fail(errno.ENOSYS)]
    code += [(_JUMP_GREATER, 0, 2, len(_FROM_0) - 1), (_JUMP_GREATER_EQUAL, 1, 0, 424), _fail(errno.ENOSYS)]
    code += [_fail(errno.EPERM)]
    return b"".join(struct.pack("=HBBI", *instruction) for instruction in code)


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_char_p))


def is_supported() -> bool:
    """Whether there is a table for this machine's architecture."""
    return platform.machine() == "x86_64"


def install() -> None:
    """Put this process and everything that it will start under the filter.

    Without `no_new_privs`, or sudo would be an ordinary program inside: the caller must have CAP_SYS_ADMIN in its user namespace.
    """
    code = program()
    filter_ = _Program(len(code) // 8, code)
    check(libc.prctl(22, ctypes.c_ulong(2), ctypes.byref(filter_), 0, 0), "install seccomp filter")
