from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class CriuNetworkLock(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    CRIU_LOCK_NONE: _ClassVar[CriuNetworkLock]
    CRIU_LOCK_IPTABLES: _ClassVar[CriuNetworkLock]
    CRIU_LOCK_NFTABLES: _ClassVar[CriuNetworkLock]
    CRIU_LOCK_SKIP: _ClassVar[CriuNetworkLock]

class CriuCgroups(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    CRIU_CGROUPS_IGNORE: _ClassVar[CriuCgroups]
    CRIU_CGROUPS_NONE: _ClassVar[CriuCgroups]
    CRIU_CGROUPS_PROPS: _ClassVar[CriuCgroups]
    CRIU_CGROUPS_SOFT: _ClassVar[CriuCgroups]
    CRIU_CGROUPS_FULL: _ClassVar[CriuCgroups]
    CRIU_CGROUPS_STRICT: _ClassVar[CriuCgroups]

class CriuRequestType(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    CRIU_EMPTY: _ClassVar[CriuRequestType]
    CRIU_DUMP: _ClassVar[CriuRequestType]
    CRIU_RESTORE: _ClassVar[CriuRequestType]
    CRIU_CHECK: _ClassVar[CriuRequestType]
    CRIU_PRE_DUMP: _ClassVar[CriuRequestType]
    CRIU_NOTIFY: _ClassVar[CriuRequestType]
    CRIU_FEATURE_CHECK: _ClassVar[CriuRequestType]
    CRIU_VERSION: _ClassVar[CriuRequestType]
    CRIU_SINGLE_PRE_DUMP: _ClassVar[CriuRequestType]
CRIU_LOCK_NONE: CriuNetworkLock
CRIU_LOCK_IPTABLES: CriuNetworkLock
CRIU_LOCK_NFTABLES: CriuNetworkLock
CRIU_LOCK_SKIP: CriuNetworkLock
CRIU_CGROUPS_IGNORE: CriuCgroups
CRIU_CGROUPS_NONE: CriuCgroups
CRIU_CGROUPS_PROPS: CriuCgroups
CRIU_CGROUPS_SOFT: CriuCgroups
CRIU_CGROUPS_FULL: CriuCgroups
CRIU_CGROUPS_STRICT: CriuCgroups
CRIU_EMPTY: CriuRequestType
CRIU_DUMP: CriuRequestType
CRIU_RESTORE: CriuRequestType
CRIU_CHECK: CriuRequestType
CRIU_PRE_DUMP: CriuRequestType
CRIU_NOTIFY: CriuRequestType
CRIU_FEATURE_CHECK: CriuRequestType
CRIU_VERSION: CriuRequestType
CRIU_SINGLE_PRE_DUMP: CriuRequestType

class CriuInheritFd(_message.Message):
    __slots__ = ("key", "fd")
    KEY_FIELD_NUMBER: _ClassVar[int]
    FD_FIELD_NUMBER: _ClassVar[int]
    key: str
    fd: int
    def __init__(self, key: _Optional[str] = ..., fd: _Optional[int] = ...) -> None: ...

class CriuJoinNamespace(_message.Message):
    __slots__ = ("ns", "ns_file")
    NS_FIELD_NUMBER: _ClassVar[int]
    NS_FILE_FIELD_NUMBER: _ClassVar[int]
    ns: str
    ns_file: str
    def __init__(self, ns: _Optional[str] = ..., ns_file: _Optional[str] = ...) -> None: ...

class CriuOptions(_message.Message):
    __slots__ = ("images_dir_fd", "pid", "leave_running", "ext_unix_sk", "tcp_established", "shell_job", "file_locks", "log_level", "log_file", "notify_scripts", "root", "parent_img", "track_mem", "auto_dedup", "work_dir_fd", "link_remap", "force_irmap", "rst_sibling", "inherit_fd", "manage_cgroups_mode", "ghost_limit", "irmap_scan_paths", "external", "empty_ns", "join_ns", "freeze_cgroup", "timeout", "tcp_skip_in_flight", "lazy_pages", "orphan_pts_master", "tcp_close", "lsm_profile", "network_lock", "mntns_compat_mode", "skip_file_rwx_check", "leave_stopped")
    IMAGES_DIR_FD_FIELD_NUMBER: _ClassVar[int]
    PID_FIELD_NUMBER: _ClassVar[int]
    LEAVE_RUNNING_FIELD_NUMBER: _ClassVar[int]
    EXT_UNIX_SK_FIELD_NUMBER: _ClassVar[int]
    TCP_ESTABLISHED_FIELD_NUMBER: _ClassVar[int]
    SHELL_JOB_FIELD_NUMBER: _ClassVar[int]
    FILE_LOCKS_FIELD_NUMBER: _ClassVar[int]
    LOG_LEVEL_FIELD_NUMBER: _ClassVar[int]
    LOG_FILE_FIELD_NUMBER: _ClassVar[int]
    NOTIFY_SCRIPTS_FIELD_NUMBER: _ClassVar[int]
    ROOT_FIELD_NUMBER: _ClassVar[int]
    PARENT_IMG_FIELD_NUMBER: _ClassVar[int]
    TRACK_MEM_FIELD_NUMBER: _ClassVar[int]
    AUTO_DEDUP_FIELD_NUMBER: _ClassVar[int]
    WORK_DIR_FD_FIELD_NUMBER: _ClassVar[int]
    LINK_REMAP_FIELD_NUMBER: _ClassVar[int]
    FORCE_IRMAP_FIELD_NUMBER: _ClassVar[int]
    RST_SIBLING_FIELD_NUMBER: _ClassVar[int]
    INHERIT_FD_FIELD_NUMBER: _ClassVar[int]
    MANAGE_CGROUPS_MODE_FIELD_NUMBER: _ClassVar[int]
    GHOST_LIMIT_FIELD_NUMBER: _ClassVar[int]
    IRMAP_SCAN_PATHS_FIELD_NUMBER: _ClassVar[int]
    EXTERNAL_FIELD_NUMBER: _ClassVar[int]
    EMPTY_NS_FIELD_NUMBER: _ClassVar[int]
    JOIN_NS_FIELD_NUMBER: _ClassVar[int]
    FREEZE_CGROUP_FIELD_NUMBER: _ClassVar[int]
    TIMEOUT_FIELD_NUMBER: _ClassVar[int]
    TCP_SKIP_IN_FLIGHT_FIELD_NUMBER: _ClassVar[int]
    LAZY_PAGES_FIELD_NUMBER: _ClassVar[int]
    ORPHAN_PTS_MASTER_FIELD_NUMBER: _ClassVar[int]
    TCP_CLOSE_FIELD_NUMBER: _ClassVar[int]
    LSM_PROFILE_FIELD_NUMBER: _ClassVar[int]
    NETWORK_LOCK_FIELD_NUMBER: _ClassVar[int]
    MNTNS_COMPAT_MODE_FIELD_NUMBER: _ClassVar[int]
    SKIP_FILE_RWX_CHECK_FIELD_NUMBER: _ClassVar[int]
    LEAVE_STOPPED_FIELD_NUMBER: _ClassVar[int]
    images_dir_fd: int
    pid: int
    leave_running: bool
    ext_unix_sk: bool
    tcp_established: bool
    shell_job: bool
    file_locks: bool
    log_level: int
    log_file: str
    notify_scripts: bool
    root: str
    parent_img: str
    track_mem: bool
    auto_dedup: bool
    work_dir_fd: int
    link_remap: bool
    force_irmap: bool
    rst_sibling: bool
    inherit_fd: _containers.RepeatedCompositeFieldContainer[CriuInheritFd]
    manage_cgroups_mode: CriuCgroups
    ghost_limit: int
    irmap_scan_paths: _containers.RepeatedScalarFieldContainer[str]
    external: _containers.RepeatedScalarFieldContainer[str]
    empty_ns: int
    join_ns: _containers.RepeatedCompositeFieldContainer[CriuJoinNamespace]
    freeze_cgroup: str
    timeout: int
    tcp_skip_in_flight: bool
    lazy_pages: bool
    orphan_pts_master: bool
    tcp_close: bool
    lsm_profile: str
    network_lock: CriuNetworkLock
    mntns_compat_mode: bool
    skip_file_rwx_check: bool
    leave_stopped: bool
    def __init__(self, images_dir_fd: _Optional[int] = ..., pid: _Optional[int] = ..., leave_running: _Optional[bool] = ..., ext_unix_sk: _Optional[bool] = ..., tcp_established: _Optional[bool] = ..., shell_job: _Optional[bool] = ..., file_locks: _Optional[bool] = ..., log_level: _Optional[int] = ..., log_file: _Optional[str] = ..., notify_scripts: _Optional[bool] = ..., root: _Optional[str] = ..., parent_img: _Optional[str] = ..., track_mem: _Optional[bool] = ..., auto_dedup: _Optional[bool] = ..., work_dir_fd: _Optional[int] = ..., link_remap: _Optional[bool] = ..., force_irmap: _Optional[bool] = ..., rst_sibling: _Optional[bool] = ..., inherit_fd: _Optional[_Iterable[_Union[CriuInheritFd, _Mapping]]] = ..., manage_cgroups_mode: _Optional[_Union[CriuCgroups, str]] = ..., ghost_limit: _Optional[int] = ..., irmap_scan_paths: _Optional[_Iterable[str]] = ..., external: _Optional[_Iterable[str]] = ..., empty_ns: _Optional[int] = ..., join_ns: _Optional[_Iterable[_Union[CriuJoinNamespace, _Mapping]]] = ..., freeze_cgroup: _Optional[str] = ..., timeout: _Optional[int] = ..., tcp_skip_in_flight: _Optional[bool] = ..., lazy_pages: _Optional[bool] = ..., orphan_pts_master: _Optional[bool] = ..., tcp_close: _Optional[bool] = ..., lsm_profile: _Optional[str] = ..., network_lock: _Optional[_Union[CriuNetworkLock, str]] = ..., mntns_compat_mode: _Optional[bool] = ..., skip_file_rwx_check: _Optional[bool] = ..., leave_stopped: _Optional[bool] = ...) -> None: ...

class CriuFeatures(_message.Message):
    __slots__ = ("mem_track", "lazy_pages")
    MEM_TRACK_FIELD_NUMBER: _ClassVar[int]
    LAZY_PAGES_FIELD_NUMBER: _ClassVar[int]
    mem_track: bool
    lazy_pages: bool
    def __init__(self, mem_track: _Optional[bool] = ..., lazy_pages: _Optional[bool] = ...) -> None: ...

class CriuRequest(_message.Message):
    __slots__ = ("type", "opts", "notify_success", "features")
    TYPE_FIELD_NUMBER: _ClassVar[int]
    OPTS_FIELD_NUMBER: _ClassVar[int]
    NOTIFY_SUCCESS_FIELD_NUMBER: _ClassVar[int]
    FEATURES_FIELD_NUMBER: _ClassVar[int]
    type: CriuRequestType
    opts: CriuOptions
    notify_success: bool
    features: CriuFeatures
    def __init__(self, type: _Optional[_Union[CriuRequestType, str]] = ..., opts: _Optional[_Union[CriuOptions, _Mapping]] = ..., notify_success: _Optional[bool] = ..., features: _Optional[_Union[CriuFeatures, _Mapping]] = ...) -> None: ...

class CriuRestored(_message.Message):
    __slots__ = ("pid",)
    PID_FIELD_NUMBER: _ClassVar[int]
    pid: int
    def __init__(self, pid: _Optional[int] = ...) -> None: ...

class CriuNotice(_message.Message):
    __slots__ = ("script", "pid")
    SCRIPT_FIELD_NUMBER: _ClassVar[int]
    PID_FIELD_NUMBER: _ClassVar[int]
    script: str
    pid: int
    def __init__(self, script: _Optional[str] = ..., pid: _Optional[int] = ...) -> None: ...

class CriuVersion(_message.Message):
    __slots__ = ("major_number", "minor_number", "sublevel")
    MAJOR_NUMBER_FIELD_NUMBER: _ClassVar[int]
    MINOR_NUMBER_FIELD_NUMBER: _ClassVar[int]
    SUBLEVEL_FIELD_NUMBER: _ClassVar[int]
    major_number: int
    minor_number: int
    sublevel: int
    def __init__(self, major_number: _Optional[int] = ..., minor_number: _Optional[int] = ..., sublevel: _Optional[int] = ...) -> None: ...

class CriuResponse(_message.Message):
    __slots__ = ("type", "success", "restore", "notify", "cr_errno", "features", "cr_errmsg", "version")
    TYPE_FIELD_NUMBER: _ClassVar[int]
    SUCCESS_FIELD_NUMBER: _ClassVar[int]
    RESTORE_FIELD_NUMBER: _ClassVar[int]
    NOTIFY_FIELD_NUMBER: _ClassVar[int]
    CR_ERRNO_FIELD_NUMBER: _ClassVar[int]
    FEATURES_FIELD_NUMBER: _ClassVar[int]
    CR_ERRMSG_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    type: CriuRequestType
    success: bool
    restore: CriuRestored
    notify: CriuNotice
    cr_errno: int
    features: CriuFeatures
    cr_errmsg: str
    version: CriuVersion
    def __init__(self, type: _Optional[_Union[CriuRequestType, str]] = ..., success: _Optional[bool] = ..., restore: _Optional[_Union[CriuRestored, _Mapping]] = ..., notify: _Optional[_Union[CriuNotice, _Mapping]] = ..., cr_errno: _Optional[int] = ..., features: _Optional[_Union[CriuFeatures, _Mapping]] = ..., cr_errmsg: _Optional[str] = ..., version: _Optional[_Union[CriuVersion, _Mapping]] = ...) -> None: ...
