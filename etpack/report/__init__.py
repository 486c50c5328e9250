"""What `inspect` finds, as frozen values and JSON; no wording for people, and no terminal."""

from __future__ import annotations

from etpack.report.build import Device, inspect_file, read_data_file
from etpack.report.values import (
    BlockReport,
    DelegateReport,
    Encoding,
    ExtentReport,
    MemoryReport,
    MethodReport,
    Packing,
    PlaneReport,
    ProgramReport,
    Report,
    RoleTotal,
    SectionReport,
    StoredExtent,
    Total,
    VerdictTotal,
)

__all__ = [
    "BlockReport",
    "DelegateReport",
    "Device",
    "Encoding",
    "ExtentReport",
    "MemoryReport",
    "MethodReport",
    "Packing",
    "PlaneReport",
    "ProgramReport",
    "Report",
    "RoleTotal",
    "SectionReport",
    "StoredExtent",
    "Total",
    "VerdictTotal",
    "inspect_file",
    "read_data_file",
]
