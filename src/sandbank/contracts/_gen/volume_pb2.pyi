import datetime

from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class VolumeFileType(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    VOLUME_FILE_TYPE_UNSPECIFIED: _ClassVar[VolumeFileType]
    VOLUME_FILE_TYPE_FILE: _ClassVar[VolumeFileType]
    VOLUME_FILE_TYPE_DIRECTORY: _ClassVar[VolumeFileType]
    VOLUME_FILE_TYPE_SYMLINK: _ClassVar[VolumeFileType]
VOLUME_FILE_TYPE_UNSPECIFIED: VolumeFileType
VOLUME_FILE_TYPE_FILE: VolumeFileType
VOLUME_FILE_TYPE_DIRECTORY: VolumeFileType
VOLUME_FILE_TYPE_SYMLINK: VolumeFileType

class VolumeInfo(_message.Message):
    __slots__ = ("volume_id", "volume_type", "team_id")
    VOLUME_ID_FIELD_NUMBER: _ClassVar[int]
    VOLUME_TYPE_FIELD_NUMBER: _ClassVar[int]
    TEAM_ID_FIELD_NUMBER: _ClassVar[int]
    volume_id: str
    volume_type: str
    team_id: str
    def __init__(self, volume_id: _Optional[str] = ..., volume_type: _Optional[str] = ..., team_id: _Optional[str] = ...) -> None: ...

class VolumeEntryInfo(_message.Message):
    __slots__ = ("name", "type", "path", "size", "mode", "uid", "gid", "modified_time", "symlink_target", "created_time", "accessed_time")
    NAME_FIELD_NUMBER: _ClassVar[int]
    TYPE_FIELD_NUMBER: _ClassVar[int]
    PATH_FIELD_NUMBER: _ClassVar[int]
    SIZE_FIELD_NUMBER: _ClassVar[int]
    MODE_FIELD_NUMBER: _ClassVar[int]
    UID_FIELD_NUMBER: _ClassVar[int]
    GID_FIELD_NUMBER: _ClassVar[int]
    MODIFIED_TIME_FIELD_NUMBER: _ClassVar[int]
    SYMLINK_TARGET_FIELD_NUMBER: _ClassVar[int]
    CREATED_TIME_FIELD_NUMBER: _ClassVar[int]
    ACCESSED_TIME_FIELD_NUMBER: _ClassVar[int]
    name: str
    type: VolumeFileType
    path: str
    size: int
    mode: int
    uid: int
    gid: int
    modified_time: _timestamp_pb2.Timestamp
    symlink_target: str
    created_time: _timestamp_pb2.Timestamp
    accessed_time: _timestamp_pb2.Timestamp
    def __init__(self, name: _Optional[str] = ..., type: _Optional[_Union[VolumeFileType, str]] = ..., path: _Optional[str] = ..., size: _Optional[int] = ..., mode: _Optional[int] = ..., uid: _Optional[int] = ..., gid: _Optional[int] = ..., modified_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., symlink_target: _Optional[str] = ..., created_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., accessed_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class VolumeCreateRequest(_message.Message):
    __slots__ = ("volume",)
    VOLUME_FIELD_NUMBER: _ClassVar[int]
    volume: VolumeInfo
    def __init__(self, volume: _Optional[_Union[VolumeInfo, _Mapping]] = ...) -> None: ...

class VolumeCreateResponse(_message.Message):
    __slots__ = ("volume_type",)
    VOLUME_TYPE_FIELD_NUMBER: _ClassVar[int]
    volume_type: str
    def __init__(self, volume_type: _Optional[str] = ...) -> None: ...

class VolumeDeleteRequest(_message.Message):
    __slots__ = ("volume",)
    VOLUME_FIELD_NUMBER: _ClassVar[int]
    volume: VolumeInfo
    def __init__(self, volume: _Optional[_Union[VolumeInfo, _Mapping]] = ...) -> None: ...

class VolumeDeleteResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class VolumePathRequest(_message.Message):
    __slots__ = ("volume", "path", "follow_symlinks")
    VOLUME_FIELD_NUMBER: _ClassVar[int]
    PATH_FIELD_NUMBER: _ClassVar[int]
    FOLLOW_SYMLINKS_FIELD_NUMBER: _ClassVar[int]
    volume: VolumeInfo
    path: str
    follow_symlinks: bool
    def __init__(self, volume: _Optional[_Union[VolumeInfo, _Mapping]] = ..., path: _Optional[str] = ..., follow_symlinks: _Optional[bool] = ...) -> None: ...

class VolumeListDirRequest(_message.Message):
    __slots__ = ("volume", "path", "depth")
    VOLUME_FIELD_NUMBER: _ClassVar[int]
    PATH_FIELD_NUMBER: _ClassVar[int]
    DEPTH_FIELD_NUMBER: _ClassVar[int]
    volume: VolumeInfo
    path: str
    depth: int
    def __init__(self, volume: _Optional[_Union[VolumeInfo, _Mapping]] = ..., path: _Optional[str] = ..., depth: _Optional[int] = ...) -> None: ...

class VolumeDirectoryItem(_message.Message):
    __slots__ = ("entry",)
    ENTRY_FIELD_NUMBER: _ClassVar[int]
    entry: VolumeEntryInfo
    def __init__(self, entry: _Optional[_Union[VolumeEntryInfo, _Mapping]] = ...) -> None: ...

class VolumeListDirResponse(_message.Message):
    __slots__ = ("files",)
    FILES_FIELD_NUMBER: _ClassVar[int]
    files: _containers.RepeatedCompositeFieldContainer[VolumeDirectoryItem]
    def __init__(self, files: _Optional[_Iterable[_Union[VolumeDirectoryItem, _Mapping]]] = ...) -> None: ...

class VolumeCreateDirRequest(_message.Message):
    __slots__ = ("volume", "path", "mode", "uid", "gid", "create_parents")
    VOLUME_FIELD_NUMBER: _ClassVar[int]
    PATH_FIELD_NUMBER: _ClassVar[int]
    MODE_FIELD_NUMBER: _ClassVar[int]
    UID_FIELD_NUMBER: _ClassVar[int]
    GID_FIELD_NUMBER: _ClassVar[int]
    CREATE_PARENTS_FIELD_NUMBER: _ClassVar[int]
    volume: VolumeInfo
    path: str
    mode: int
    uid: int
    gid: int
    create_parents: bool
    def __init__(self, volume: _Optional[_Union[VolumeInfo, _Mapping]] = ..., path: _Optional[str] = ..., mode: _Optional[int] = ..., uid: _Optional[int] = ..., gid: _Optional[int] = ..., create_parents: _Optional[bool] = ...) -> None: ...

class VolumeUpdatePathRequest(_message.Message):
    __slots__ = ("volume", "path", "mode", "uid", "gid")
    VOLUME_FIELD_NUMBER: _ClassVar[int]
    PATH_FIELD_NUMBER: _ClassVar[int]
    MODE_FIELD_NUMBER: _ClassVar[int]
    UID_FIELD_NUMBER: _ClassVar[int]
    GID_FIELD_NUMBER: _ClassVar[int]
    volume: VolumeInfo
    path: str
    mode: int
    uid: int
    gid: int
    def __init__(self, volume: _Optional[_Union[VolumeInfo, _Mapping]] = ..., path: _Optional[str] = ..., mode: _Optional[int] = ..., uid: _Optional[int] = ..., gid: _Optional[int] = ...) -> None: ...

class VolumeEntryResponse(_message.Message):
    __slots__ = ("entry",)
    ENTRY_FIELD_NUMBER: _ClassVar[int]
    entry: VolumeEntryInfo
    def __init__(self, entry: _Optional[_Union[VolumeEntryInfo, _Mapping]] = ...) -> None: ...

class VolumeFileStart(_message.Message):
    __slots__ = ("size",)
    SIZE_FIELD_NUMBER: _ClassVar[int]
    size: int
    def __init__(self, size: _Optional[int] = ...) -> None: ...

class VolumeFileContent(_message.Message):
    __slots__ = ("content",)
    CONTENT_FIELD_NUMBER: _ClassVar[int]
    content: bytes
    def __init__(self, content: _Optional[bytes] = ...) -> None: ...

class VolumeFileFinish(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class VolumeFileChunk(_message.Message):
    __slots__ = ("start", "content", "finish")
    START_FIELD_NUMBER: _ClassVar[int]
    CONTENT_FIELD_NUMBER: _ClassVar[int]
    FINISH_FIELD_NUMBER: _ClassVar[int]
    start: VolumeFileStart
    content: VolumeFileContent
    finish: VolumeFileFinish
    def __init__(self, start: _Optional[_Union[VolumeFileStart, _Mapping]] = ..., content: _Optional[_Union[VolumeFileContent, _Mapping]] = ..., finish: _Optional[_Union[VolumeFileFinish, _Mapping]] = ...) -> None: ...

class VolumeUploadStart(_message.Message):
    __slots__ = ("volume", "path", "mode", "uid", "gid", "force")
    VOLUME_FIELD_NUMBER: _ClassVar[int]
    PATH_FIELD_NUMBER: _ClassVar[int]
    MODE_FIELD_NUMBER: _ClassVar[int]
    UID_FIELD_NUMBER: _ClassVar[int]
    GID_FIELD_NUMBER: _ClassVar[int]
    FORCE_FIELD_NUMBER: _ClassVar[int]
    volume: VolumeInfo
    path: str
    mode: int
    uid: int
    gid: int
    force: bool
    def __init__(self, volume: _Optional[_Union[VolumeInfo, _Mapping]] = ..., path: _Optional[str] = ..., mode: _Optional[int] = ..., uid: _Optional[int] = ..., gid: _Optional[int] = ..., force: _Optional[bool] = ...) -> None: ...

class VolumeFileUpload(_message.Message):
    __slots__ = ("start", "content", "finish")
    START_FIELD_NUMBER: _ClassVar[int]
    CONTENT_FIELD_NUMBER: _ClassVar[int]
    FINISH_FIELD_NUMBER: _ClassVar[int]
    start: VolumeUploadStart
    content: VolumeFileContent
    finish: VolumeFileFinish
    def __init__(self, start: _Optional[_Union[VolumeUploadStart, _Mapping]] = ..., content: _Optional[_Union[VolumeFileContent, _Mapping]] = ..., finish: _Optional[_Union[VolumeFileFinish, _Mapping]] = ...) -> None: ...
