"""What `inspect` finds, as frozen values and JSON; no wording for people, and no terminal."""

from __future__ import annotations

from etpack.report.build import inspect_file
from etpack.report.loading import LoadSetup, read_data_file, with_loaders
from etpack.report.tree import folded, method_tree, role_tree
from etpack.report.values import (
    BlockReport,
    DelegateReport,
    Encoding,
    ExtentReport,
    MemoryReport,
    MethodReport,
    Node,
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
    "LoadSetup",
    "Encoding",
    "ExtentReport",
    "MemoryReport",
    "MethodReport",
    "Node",
    "Packing",
    "PlaneReport",
    "ProgramReport",
    "Report",
    "RoleTotal",
    "SectionReport",
    "StoredExtent",
    "Total",
    "VerdictTotal",
    "folded",
    "inspect_file",
    "method_tree",
    "read_data_file",
    "role_tree",
    "with_loaders",
]
