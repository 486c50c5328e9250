"""What would go wrong on a device with a model that can be read: the checks that a loader leaves out.

`etpack.pte` refuses what nobody can make sense of. Here the whole program is walked, instructions included, and every
broken rule is noted; nothing is refused.
"""

from __future__ import annotations

from etpack.flatbuffer import MAX_WORK_LIMIT, Flatbuffer
from etpack.guard.data import check_data, check_named_layouts, check_program_data
from etpack.guard.faults import MAX_FAULTS, Fault, Faults
from etpack.guard.methods import check_methods
from etpack.guard.rules import MODEL_RULES, Caught, Rule
from etpack.pte import FileKind, ModelFile
from etpack.pte.rules import out_of_bounds
from etpack.sources import Source

__all__ = ["MAX_FAULTS", "MODEL_RULES", "Caught", "Fault", "Faults", "Rule", "check_model"]

# As the limits in `etpack.flatbuffer`, and higher: a model with its weights in a .ptd is small, and its values and
# instructions are several times as much as all else in it.
_WORK_LIMIT = 700_000
_FILE_BYTES_PER_STEP = 1024


def check_model(source: Source, model: ModelFile) -> Faults:
    """Return what is wrong with a model that `read_model` read from `source`; reads its flatbuffer, no weights.

    Raises:
        PteError: The flatbuffer points out of itself, or has so many parts that to look at all would take too long.
        OSError: The source cannot be read.
    """
    faults = Faults()
    limit = min(_WORK_LIMIT + source.size // _FILE_BYTES_PER_STEP, MAX_WORK_LIMIT)
    buffer = Flatbuffer(source, out_of_bounds, offset=model.program.offset, size=model.program.size, work_limit=limit)
    root = buffer.root()
    check_data(root, model, faults)
    if model.kind is FileKind.PTD:
        check_named_layouts(root, faults)
    else:
        check_program_data(root, model, faults)
        check_methods(root, model, faults)
    return faults
