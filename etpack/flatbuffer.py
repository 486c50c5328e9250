"""Reads flatbuffers that nobody has checked: lazily, with every access inside its bounds and the work bounded.

Positions are offsets in the source, in bytes, so that an error names a place in the file. Nothing is read but the
pages that are touched, so blobs inside a flatbuffer are neither read nor copied. The reader never recurses; whoever
walks the tables decides how deep to go.
"""

from __future__ import annotations

from collections.abc import Callable
from struct import Struct, unpack
from typing import Any

from etpack.sources import Source, check_range

# Makes the error to raise from a message and an offset in the source in bytes.
Fail = Callable[[str, int], Exception]

# Steps that one file may cost; a file whose vectors all point at one huge vector would run for years. A step is about
# a microsecond of a desktop processor, with all that is later made of what was read: a table or the element of a vector
# takes one, and whoever makes more of them says so with `spend`. The program of a model of 135 million parameters takes
# a fifteenth of this, one of 9,000 keys and as many segments two thirds.
WORK_LIMIT = 600_000
# More is allowed in files that take long to move anyway, up to a limit that is for all.
_FILE_BYTES_PER_STEP = 1024
MAX_WORK_LIMIT = 2_000_000
# Few bytes cannot be worth many steps.
_WORK_AT_LEAST = 100_000
_STEPS_PER_BYTE = 2

# Strings cost one step for so many bytes, and one more.
_STRING_STEP = 16

_PAGE_BITS = 18
# Pages that are kept, and what it costs to read one.
_MAX_PAGES = 64
_PAGE_STEPS = 100
_PAGE_MASK = (1 << _PAGE_BITS) - 1

_U8 = Struct("<B")
_I8 = Struct("<b")
_U16 = Struct("<H")
_U32 = Struct("<I")
_I32 = Struct("<i")
_U64 = Struct("<Q")
_I64 = Struct("<q")

# Sizes in bytes of the elements that Table.scalars can read, by struct code.
_WIDTHS = {"B": 1, "b": 1, "?": 1, "H": 2, "h": 2, "I": 4, "i": 4, "Q": 8, "q": 8, "f": 4, "d": 8}


class Flatbuffer:
    """One flatbuffer in a part of a source; for one thread at a time.

    Attributes:
        start: Offset in the source of its first byte.
        end: Offset in the source after its last byte.
    """

    def __init__(
        self, source: Source, fail: Fail, *, offset: int = 0, size: int | None = None, work_limit: int | None = None
    ) -> None:
        """Look at a part of `source`; reads nothing yet.

        Args:
            source: Where the bytes are.
            fail: Makes the error that is raised when a rule is broken.
            offset: Where in the source the flatbuffer begins, with its root offset in the first four bytes.
            size: Size of the flatbuffer in bytes; all that follows `offset` if None.
            work_limit: Steps after which reading is refused, at most; by the size of the source if None. Small
                flatbuffers get fewer.

        Raises:
            ValueError: The part leaves the source.
        """
        size = source.size - offset if size is None else size
        check_range(source, offset, size)
        self.start = offset
        self.end = offset + size
        self._source = source
        self._fail = fail
        self._pages: dict[int, bytes] = {}
        self._vtables: dict[int, tuple[int, ...]] = {}
        if work_limit is None:
            work_limit = min(WORK_LIMIT + source.size // _FILE_BYTES_PER_STEP, MAX_WORK_LIMIT)
        self._work_limit = self._work_left = min(work_limit, _WORK_AT_LEAST + size * _STEPS_PER_BYTE)

    @property
    def work_done(self) -> int:
        """Steps that reading has taken so far."""
        return self._work_limit - self._work_left

    def root(self) -> Table:
        """Return the root table."""
        return Table(self, self.start + self._u32(self.start))

    def fail(self, message: str, where: int) -> Exception:
        """Return the caller's kind of error for a fault at offset `where` in the source."""
        return self._fail(message, where)

    def spend(self, steps: int, where: int) -> None:
        """Count work; raise when it exceeds the limit."""
        self._work_left -= steps
        if self._work_left < 0:
            raise self._fail(f"reading the flatbuffer takes more than {self._work_limit:,} steps", where)

    def read(self, at: int, size: int) -> bytes:
        """Return `size` bytes at offset `at` of the source; raise if they leave the flatbuffer."""
        if at < self.start or at + size > self.end:
            raise self._fail(f"the flatbuffer points {size:,} bytes out of itself", min(max(at, self.start), self.end))
        number, start = divmod(at - self.start, 1 << _PAGE_BITS)
        if start + size > 1 << _PAGE_BITS:  # crosses pages; rare, and long vectors need not stay in memory
            return self._source.read_at(at, size)
        return self._page(number)[start : start + size]

    def unpack(self, form: Struct, at: int) -> tuple[Any, ...]:
        """Return what `form` describes at offset `at` of the source; raise if it leaves the flatbuffer."""
        place = at - self.start
        page = self._pages.get(place >> _PAGE_BITS)
        start = place & _PAGE_MASK
        if page is not None and start + form.size <= len(page):
            return form.unpack_from(page, start)
        return form.unpack(self.read(at, form.size))

    def vtable(self, at: int) -> tuple[int, ...]:
        """Return the field offsets, from the start of a table, that the vtable at `at` gives; tables share vtables."""
        known = self._vtables.get(at)
        if known is None:
            known = self._vtables[at] = self._read_vtable(at)
        return known

    def _read_vtable(self, at: int) -> tuple[int, ...]:
        # The table's size, which follows, is no bound to rely on: the Python builder lets tables of different size
        # share a vtable, and ExecuTorch writes programs with it. So a field has to lie inside the flatbuffer only.
        size: int = self.unpack(_U16, at)[0]
        if size < 4 or size % 2:
            raise self._fail(f"impossible vtable of {size} bytes", at)
        count = size // 2 - 2
        self.spend(count, at)
        return unpack(f"<{count}H", self.read(at + 4, 2 * count))

    def _u32(self, at: int) -> int:
        value: int = self.unpack(_U32, at)[0]
        return value

    def _page(self, number: int) -> bytes:
        page = self._pages.get(number)
        if page is None:
            at = self.start + (number << _PAGE_BITS)
            self.spend(_PAGE_STEPS, at)
            if len(self._pages) == _MAX_PAGES:
                del self._pages[next(iter(self._pages))]
            page = self._pages[number] = self._source.read_at(at, min(1 << _PAGE_BITS, self.end - at))
        return page


def name_steps(*names: str) -> int:
    """Return what it costs to say names once more than the file does."""
    return sum(1 + len(name) // _STRING_STEP for name in names)


class Table:
    """One table; getters take a slot (the field's id) and give the default when the field is absent.

    Attributes:
        offset: Where it lies in the source, in bytes.
    """

    __slots__ = ("_buffer", "_fields", "offset")

    def __init__(self, buffer: Flatbuffer, offset: int) -> None:
        buffer.spend(1, offset)
        self._buffer = buffer
        self.offset = offset
        self._fields = buffer.vtable(offset - buffer.unpack(_I32, offset)[0])

    def spend(self, steps: int) -> None:
        """Count what is made of this table, beside reading it; raise when the file has cost too much."""
        self._buffer.spend(steps, self.offset)

    def has(self, slot: int) -> bool:
        """Whether the field is present."""
        return slot < len(self._fields) and self._fields[slot] != 0

    def u8(self, slot: int, default: int = 0) -> int:
        return self._scalar(_U8, slot, default)

    def i8(self, slot: int, default: int = 0) -> int:
        return self._scalar(_I8, slot, default)

    def u16(self, slot: int, default: int = 0) -> int:
        return self._scalar(_U16, slot, default)

    def u32(self, slot: int, default: int = 0) -> int:
        return self._scalar(_U32, slot, default)

    def i32(self, slot: int, default: int = 0) -> int:
        return self._scalar(_I32, slot, default)

    def u64(self, slot: int, default: int = 0) -> int:
        return self._scalar(_U64, slot, default)

    def i64(self, slot: int, default: int = 0) -> int:
        return self._scalar(_I64, slot, default)

    def flag(self, slot: int, default: bool = False) -> bool:
        return self._scalar(_U8, slot, default) != 0

    def string(self, slot: int) -> str | None:
        """Return a string, or None if the field is absent; raise if it is not UTF-8."""
        target = self._target(slot)
        return None if target is None else self._string(target)

    def table(self, slot: int) -> Table | None:
        """Return a table, or None if the field is absent."""
        target = self._target(slot)
        return None if target is None else Table(self._buffer, target)

    def union(self, slot: int) -> tuple[int, Table | None]:
        """Return the type and the table of a union whose type has this slot; its table has the next."""
        return self.u8(slot), self.table(slot + 1)

    def count(self, slot: int, width: int = 4) -> int:
        """Return the number of elements of a vector, 0 if absent; `width` is an element's size (4 for tables)."""
        return self._vector(slot, width)[1]

    def blob(self, slot: int) -> tuple[int, int] | None:
        """Return offset in the source and size of a byte vector, not read, or None if the field is absent."""
        return self._vector(slot, 1) if self.has(slot) else None

    def scalars(self, slot: int, code: str) -> tuple[Any, ...]:
        """Return a vector of numbers, empty if absent; `code` is the struct module's letter for an element."""
        width = _WIDTHS[code]
        at, count = self._vector(slot, width)
        self._buffer.spend(count, at)
        return unpack(f"<{count}{code}", self._buffer.read(at, count * width)) if count else ()

    def tables(self, slot: int) -> list[Table]:
        """Return a vector of tables, empty if absent."""
        return [Table(self._buffer, target) for target in self._targets(slot)]

    def strings(self, slot: int) -> list[str]:
        """Return a vector of strings, empty if absent; raise if one is not UTF-8."""
        return [self._string(target) for target in self._targets(slot)]

    def _at(self, slot: int) -> int:
        """Return where a field lies, or 0 if it is absent: no field lies at 0, for a table begins with other bytes."""
        field = self._fields[slot] if slot < len(self._fields) else 0
        return self.offset + field if field else 0

    def _scalar(self, form: Struct, slot: int, default: int) -> int:
        at = self._at(slot)
        value: int = self._buffer.unpack(form, at)[0] if at else default
        return value

    def _target(self, slot: int) -> int | None:
        at = self._at(slot)
        if at == 0:
            return None
        distance: int = self._buffer.unpack(_U32, at)[0]
        return at + distance

    def _vector(self, slot: int, width: int) -> tuple[int, int]:
        """Return where a vector's elements begin and how many there are, or (0, 0) if the field is absent."""
        target = self._target(slot)
        if target is None:
            return 0, 0
        return target + 4, self._checked_count(target, width)

    def _checked_count(self, at: int, width: int) -> int:
        count: int = self._buffer.unpack(_U32, at)[0]
        if count * width > self._buffer.end - at - 4:
            raise self._buffer.fail(f"a vector of {count:,} x {width} bytes leaves the flatbuffer", at)
        return count

    def _targets(self, slot: int) -> list[int]:
        at, _ = self._vector(slot, 4)
        return [at + 4 * number + distance for number, distance in enumerate(self.scalars(slot, "I"))]

    def _string(self, at: int) -> str:
        size = self._checked_count(at, 1)
        self._buffer.spend(1 + size // _STRING_STEP, at)
        try:
            return self._buffer.read(at + 4, size).decode()
        except UnicodeDecodeError as exc:
            raise self._buffer.fail("a string is not UTF-8", at + 4 + exc.start) from None
