"""Packs a model and reads one of its segments back, without decoding the rest."""

import argparse
import tempfile
from pathlib import Path

import etpack

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("model", type=Path)
model = parser.parse_args().model
with tempfile.TemporaryDirectory() as folder:
    packed = Path(folder) / "model.etz"
    result = etpack.compress(model, packed, etpack.Options(block_size=64 * 1024))
    print(f"{result.content_size:,} -> {result.stored_size:,} bytes in {result.block_count} blocks")

    with etpack.open(packed) as file:
        largest = max(file.model.segments, key=lambda segment: segment.range.size)
        data = file.segment(largest.number)
        print(f"segment {largest.number} ({largest.roles[0].value}): {len(data):,} bytes")
        assert data == model.read_bytes()[largest.range.offset : largest.range.end]
