"""Sizes and encodings of the pages of a parquet file, from their headers alone: nothing is decompressed.

A file of kilobytes can unpack to terabytes, and its footer need not admit that. A reader takes as much memory for a
page as the header of the page states, so that the headers bound what reading takes. The format is described in
https://github.com/apache/parquet-format; headers are structs of Apache Thrift, compact protocol.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, BinaryIO, NamedTuple

MAX_HEADER_BYTES = 2**20
_MAX_DEPTH = 16
_DATA, _DICTIONARY, _DATA_V2 = 0, 2, 3
"""Values of PageType."""
_DETAILS = {_DATA: (5, 2), _DICTIONARY: (7, 2), _DATA_V2: (8, 4)}
"""Field of the details of a page in its header, and field of the encoding in them."""
PLAIN, PLAIN_DICTIONARY, RLE, DELTA_BINARY_PACKED, RLE_DICTIONARY = 0, 2, 3, 5, 8
"""Values of Encoding whose values take no more bytes than a page states, or are numbers."""
_STOP, _TRUE, _FALSE, _BYTE, _I16, _I32, _I64, _DOUBLE, _BINARY, _LIST, _SET, _MAP, _STRUCT = range(13)


class Page(NamedTuple):
    """A page by its header."""

    n_bytes: int
    """Size of the decompressed page."""
    n_values: int
    """Number of values, nulls included."""
    encoding: int
    """Encoding of the values, as the format numbers them."""
    is_dictionary: bool
    """Whether the values are a dictionary, to which the other pages of the column refer."""


def read_pages(stream: BinaryIO, column: Any) -> Iterator[Page]:
    """Read the headers of the pages of one column chunk.

    Args:
        stream: the file.
        column: footer of the column chunk, a `pyarrow.parquet.ColumnChunkMetaData`.

    Raises:
        ValueError: a header is damaged, or leads out of the column chunk.
    """
    position = column.data_page_offset
    if column.has_dictionary_page and 0 < column.dictionary_page_offset < position:
        position = column.dictionary_page_offset
    end, n_values = position + column.total_compressed_size, 0
    while position < end and n_values < column.num_values:
        stream.seek(position)
        header = _Header(stream.read(min(MAX_HEADER_BYTES, end - position)))
        fields = header.struct()
        kind, n_bytes, n_stored = (fields.get(number, 0) for number in (1, 2, 3))
        position += header.position + n_stored
        if n_bytes < 0 or n_stored < 0 or position > end:
            raise ValueError("the header of a page leads out of its column")
        if kind not in _DETAILS:
            continue  # readers leave out pages of other kinds
        details, encoding = _DETAILS[kind]
        found = fields.get(details, {})
        page = Page(n_bytes, found.get(1, -1), found.get(encoding, -1), kind == _DICTIONARY)
        if page.n_values < 0 or (page.is_dictionary and page.n_values > n_bytes):
            raise ValueError(f"a page states {page.n_values} values in {n_bytes} bytes")
        yield page
        n_values += 0 if page.is_dictionary else page.n_values


class _Header:
    """Reader of the struct at the beginning of some bytes."""

    def __init__(self, content: bytes):
        self._content = content
        self.position = 0
        """Position behind what was read."""

    def struct(self, depth: int = 0) -> Mapping[int, Any]:
        """Read a struct: its 32-bit integers and structs by the number of their field; other values are skipped."""
        if depth > _MAX_DEPTH:
            raise ValueError("the header of a page is nested too deep")
        fields: dict[int, Any] = {}
        number = 0
        while (head := self._byte()) & 0x0F != _STOP:
            number = number + (head >> 4) if head >> 4 else self._zigzag()
            kind = head & 0x0F
            if kind == _I32:
                fields[number] = self._zigzag()
            elif kind == _STRUCT:
                fields[number] = self.struct(depth + 1)
            elif kind not in (_TRUE, _FALSE):  # the value of a truth is its type
                self._skip(kind, depth)
        return fields

    def _skip(self, kind: int, depth: int) -> None:
        skips: dict[int, Callable[[], Any]] = {
            **dict.fromkeys((_TRUE, _FALSE, _BYTE), self._byte),  # in a list, a truth is a byte
            **dict.fromkeys((_I16, _I32, _I64), self._zigzag),
            _DOUBLE: lambda: self._bytes(8),
            _BINARY: lambda: self._bytes(self._varint()),
            _STRUCT: lambda: self.struct(depth + 1),
        }
        if kind not in skips:  # page headers of today have no lists and no maps
            raise ValueError(f"the header of a page has a value of the unknown kind {kind}")
        skips[kind]()

    def _bytes(self, n: int) -> bytes:
        start, self.position = self.position, self.position + n
        if self.position > len(self._content):
            raise ValueError("the header of a page is cut off")
        return self._content[start : self.position]

    def _byte(self) -> int:
        return self._bytes(1)[0]

    def _varint(self) -> int:
        value = shift = 0
        while shift < 64:
            byte = self._byte()
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
            shift += 7
        raise ValueError("the header of a page has a number that is too long")

    def _zigzag(self) -> int:
        value = self._varint()
        return value >> 1 ^ -(value & 1)
