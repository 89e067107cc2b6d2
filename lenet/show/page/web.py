"""Packs the files of onnxruntime-web, if given, into the page, so that it needs no network."""

import base64
import gzip
import hashlib
from dataclasses import dataclass
from pathlib import Path

from parity.errors import UserError

VERSION = "1.30.0"
HOW = "make web && lenet report --web web"
# SHA-256 of the files in dist/ of the npm package onnxruntime-web of this version.
FILES = {
    "ort.wasm.bundle.min.mjs": "11e64bd8ffe11bd1a2a2f0d6275fdfbbba7262f0b76b99b53d228a8a22ef3d90",
    "ort-wasm-simd-threaded.wasm": "3398c10d07d229bd91b364548e130e0e51a8e5704b88c7c083ebbeb78842dee2",
}


@dataclass(frozen=True)
class Runtime:
    """The module, and its compressed WebAssembly; both in base64."""

    module: str
    wasm: str


def read(folder: Path) -> Runtime:
    """Read the two files from onnxruntime-web's `dist`.

    Raises:
        UserError: a file is missing, or not of the pinned version.
    """
    module, wasm = (_verified(folder / name, digest) for name, digest in FILES.items())
    return Runtime(
        base64.b64encode(module).decode(), base64.b64encode(gzip.compress(wasm, 9, mtime=0)).decode()
    )


def _verified(path: Path, digest: str) -> bytes:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); `make web` fetches it") from error
    if hashlib.sha256(content).hexdigest() != digest:
        raise UserError(f"{path}: not that of onnxruntime-web {VERSION}; `make web` fetches it")
    return content
