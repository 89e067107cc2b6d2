"""caffe.proto as Python classes, built when this module is imported, without a compiler."""

import re
from pathlib import Path
from typing import Any

from google.protobuf.descriptor_pb2 import DescriptorProto, FieldDescriptorProto, FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import DecodeError
from google.protobuf.message_factory import GetMessageClass
from google.protobuf.text_format import Parse, ParseError

from parity.errors import UserError

FIELD = re.compile(r"(optional|repeated) (\w+) (\w+) = (\d+)(?: \[(packed|default) = \"?(.+?)\"?\])?;")
OPENING = re.compile(r"(message|enum) (\w+) \{")
VALUE = re.compile(r"(\w+) = (\d+);")


def parse_schema(text: str) -> FileDescriptorProto:
    """Parse a .proto file as `protoc` does, for the part of the language that caffe.proto uses.

    Each line has one definition: `message X {`, `enum X {`, `optional TYPE name = NUMBER [default = …];`,
    `NAME = NUMBER;` or `}`.
    """
    file = FileDescriptorProto(name="caffe.proto", package="caffe", syntax="proto2")
    scope: list[Any] = [file]
    for line in text.splitlines():
        line = line.partition("//")[0].strip()
        inside = scope[-1]
        if match := OPENING.fullmatch(line):
            kind, name = match.groups()
            among = getattr(inside, f"{'nested' if isinstance(inside, DescriptorProto) else 'message'}_type")
            scope.append((among if kind == "message" else inside.enum_type).add(name=name))
        elif match := FIELD.fullmatch(line):
            label, kind, name, number, option, setting = match.groups()
            field = inside.field.add(name=name, number=int(number))
            field.label = getattr(FieldDescriptorProto, f"LABEL_{label.upper()}")
            if scalar := getattr(FieldDescriptorProto, f"TYPE_{kind.upper()}", None):
                field.type = scalar
            else:
                field.type_name = kind  # a message or an enum; the pool decides
            if option == "packed":
                field.options.packed = setting == "true"
            elif option == "default":
                field.default_value = setting
        elif match := VALUE.fullmatch(line):
            inside.value.add(name=match[1], number=int(match[2]))
        elif line == "}":
            scope.pop()
        elif line and not line.startswith(("syntax ", "package ")):
            raise ValueError(f"caffe.proto: not understood: {line}")
    return file


# A separate pool, because other code in the process may define its own caffe.NetParameter.
_pool = DescriptorPool()
_pool.Add(parse_schema(Path(__file__).with_name("caffe.proto").read_text(encoding="utf-8")))


def _message(name: str) -> Any:
    return GetMessageClass(_pool.FindMessageTypeByName(f"caffe.{name}"))


BlobProto, NetParameter, SolverParameter = map(_message, ("BlobProto", "NetParameter", "SolverParameter"))


def read_text(kind: Any, path: Path) -> Any:
    """Read a message of class `kind` from a .prototxt.

    Raises:
        UserError: the file is missing, or its text does not fit the schema.
    """
    try:
        return Parse(path.read_bytes(), kind())
    except (ParseError, UnicodeDecodeError) as error:
        problem = " ".join(str(error).split())
        raise UserError(f"{path}: no {kind.DESCRIPTOR.name} as text ({problem})") from error
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from error


def read_binary(kind: Any, path: Path) -> Any:
    """Read a message of class `kind` from a binary file.

    Raises:
        UserError: the file is missing, truncated, or not such a message.
    """
    try:
        return kind.FromString(path.read_bytes())
    except DecodeError as error:
        raise UserError(f"{path}: no {kind.DESCRIPTOR.name}, or cut off; get the file anew") from error
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from error
