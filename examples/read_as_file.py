"""Hands a packed model to code that wants a file: here, hashlib."""

import hashlib
import sys
import tempfile
from pathlib import Path

import etpack

with tempfile.TemporaryDirectory() as folder:
    packed = Path(folder) / "model.etz"
    etpack.compress(sys.argv[1], packed)
    with etpack.open(packed) as file, file.open_file() as content:
        digest = hashlib.sha256()
        while chunk := content.read(1 << 16):
            digest.update(chunk)
        print(digest.hexdigest())
        print("as recorded" if digest.digest() == file.footer.content_sha256 else "NOT as recorded")
