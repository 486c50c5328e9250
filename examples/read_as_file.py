"""Hands a packed model to code that wants a file: here, hashlib."""

import argparse
import hashlib
import tempfile
from pathlib import Path

import etpack

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("model")
model = parser.parse_args().model
with tempfile.TemporaryDirectory() as folder:
    packed = Path(folder) / "model.etz"
    etpack.compress(model, packed)
    with etpack.open(packed) as file, file.open_file() as content:
        digest = hashlib.sha256()
        while chunk := content.read(1 << 16):
            digest.update(chunk)
        print(digest.hexdigest())
        print("as recorded" if digest.digest() == file.footer.content_sha256 else "NOT as recorded")
