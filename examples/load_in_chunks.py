"""Loads a packed model as a device does: range by range through the chunked loader, freeing what is not needed."""

import argparse
import tempfile
from pathlib import Path

import etpack

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("model")
model = parser.parse_args().model
with tempfile.TemporaryDirectory() as folder:
    packed = Path(folder) / "model.etz"
    etpack.compress(model, packed)
    with etpack.DataLoader(packed) as loader:
        with loader.load(0, 64) as head:  # freed at the end of the block, as ExecuTorch does with the head
            print(f"head: {bytes(head.data[4:8]).decode()}, {head.size} bytes")
        chunks = [len(chunk) for chunk in loader.iter_chunks(chunk_size=128 * 1024)]
        print(f"{loader.size:,} bytes in {len(chunks)} chunks of at most {max(chunks):,}")
