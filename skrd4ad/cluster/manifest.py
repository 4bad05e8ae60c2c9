"""Which images are to be scored: a Parquet manifest, or a folder of images, as one Parquet file that is sorted by id.

Each of its row groups is a part: what one worker scores at a time, and what is scored again after a failure.
"""

import hashlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import fsspec
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset
import pyarrow.parquet as pq

from skrd4ad.data.images.read import is_image
from skrd4ad.errors import DataError, DependencyError
from skrd4ad.files import new_file
from skrd4ad.services.inspection.input_files import expand_inputs

SCHEMA = pa.schema([("id", pa.string()), ("path", pa.string())])
MOST_SORTED = 5_000_000
"""Images whose ids are sorted here, in memory, some 150 bytes each; a longer manifest comes sorted."""
_SUFFIXES = (".parquet", ".pq")


@dataclass(frozen=True)
class Manifest:
    """The images to be scored, in the order of their ids."""

    file: Path
    digest: str
    """SHA-256 of ids and paths."""

    @property
    def images(self) -> int:
        """How many there are."""
        return int(pq.read_metadata(self.file).num_rows)

    @property
    def sizes(self) -> list[int]:
        """Images of each part."""
        about = pq.read_metadata(self.file)
        return [about.row_group(part).num_rows for part in range(about.num_row_groups)]

    def parts(self, wanted: Iterable[int]) -> Iterator[tuple[int, pa.Table]]:
        """Parts by their numbers: the columns ``id`` and ``path``."""
        with pq.ParquetFile(self.file) as file:
            for part in wanted:
                yield part, file.read_row_group(part)


def write_manifest(source: str, target: Path, *, part_images: int) -> Manifest:
    """Write the manifest of a source.

    Args:
        source: a Parquet file, or a folder of them, with the column ``path`` and, if need be, ``id``; or a folder of
            images, whose ids are their paths in it. A path, or a URI that fsspec knows, such as ``s3://bucket/folder``.
        target: file that is written.
        part_images: images of a part.

    Raises:
        DataError: there is no such source, it holds no images, or an id stands for two of them.
        DependencyError: fsspec needs a library for such URIs that is not installed.
    """
    with _translated(source):
        system, path = fsspec.url_to_fs(source)
        is_local, is_folder = "://" not in source, system.isdir(path)
        if not system.exists(path):
            raise DataError(f"There is no {source}; give a Parquet file, or a folder of images.")
        if is_folder and not any(name.endswith(_SUFFIXES) for name in system.ls(path, detail=False)):
            base, batches = "", iter([_listed(source, system, path, is_local=is_local)])
        else:
            parent = PurePosixPath(path) if is_folder else PurePosixPath(path).parent
            base = str(Path(source).absolute() if is_folder else Path(source).absolute().parent)
            base = base if is_local else system.unstrip_protocol(str(parent))
            batches = _read(source, system, path)
        digest = hashlib.sha256()
        with (
            new_file(target, durable=False, error=DataError) as temporary,
            pq.ParquetWriter(temporary, SCHEMA, compression="zstd") as writer,
        ):
            for part in _in_parts(batches, part_images):
                located = _located(part, base)
                for row in zip(*(column.to_pylist() for column in located.columns), strict=True):
                    digest.update("\0".join([*row, ""]).encode())
                writer.write_table(located, row_group_size=part_images)
    manifest = Manifest(target, digest.hexdigest())
    if not manifest.images:
        raise DataError(f"{source} names no images; give a Parquet file with a column path, or a folder of images.")
    return manifest


def _listed(source: str, system: fsspec.AbstractFileSystem, path: str, *, is_local: bool) -> pa.Table:
    """Images of a folder; those of this machine as every other command finds them."""
    if is_local:
        top = Path(source).absolute()
        found = [file for file in expand_inputs([top]) if file != top]
        names, paths = [file.relative_to(top).as_posix() for file in found], [str(file) for file in found]
    else:
        files = [file for file in system.find(path) if is_image(Path(file))]
        names = [str(PurePosixPath(file).relative_to(path)) for file in files]
        paths = [system.unstrip_protocol(file) for file in files]
    try:
        return pa.table({"id": names, "path": paths}, schema=SCHEMA).sort_by("id")
    except UnicodeEncodeError as error:
        raise DataError(f"A file's name is no valid text: {error.object!r}. Rename it.") from error


def _read(source: str, system: fsspec.AbstractFileSystem, path: str) -> Iterator[pa.Table]:
    """Rows of a manifest, sorted by id."""
    data = pyarrow.dataset.dataset(path, filesystem=system, format="parquet")
    if "path" not in data.schema.names:
        raise DataError(
            f"{source} has no column path; it has: {', '.join(data.schema.names) or 'none'}. A manifest has the column "
            "path, and id where the path is not what tells images apart."
        )
    columns = {"id": "id" if "id" in data.schema.names else "path", "path": "path"}
    fields = {name: pyarrow.dataset.field(of).cast(pa.string()) for name, of in columns.items()}
    for name, field in fields.items():
        if data.count_rows(filter=field.is_null() | (field == "")):
            raise DataError(f"{source} has rows without {columns[name]}; give each one, or leave such rows out.")
    if data.count_rows() <= MOST_SORTED:
        yield data.to_table(columns=fields).sort_by("id")
    else:
        yield from (pa.Table.from_batches([batch]) for batch in data.to_batches(columns=fields))


def _in_parts(tables: Iterable[pa.Table], size: int) -> Iterator[pa.Table]:
    """Tables of ``size`` rows, the last one shorter; refuses an id that does not come after the one before."""
    waiting, last = SCHEMA.empty_table(), None
    for table in tables:
        waiting = pa.concat_tables([waiting, table.cast(SCHEMA)])
        while waiting.num_rows >= size:
            part, waiting = waiting.slice(0, size), waiting.slice(size)
            last = _require_ascending(part["id"], last)
            yield part
    if waiting.num_rows:
        _require_ascending(waiting["id"], last)
        yield waiting


def _require_ascending(ids: pa.ChunkedArray, last: str | None) -> str:
    held = ids.combine_chunks()
    before = pa.concat_arrays([pa.array([last], pa.string()), held[:-1]])
    wrong = pc.index(pc.fill_null(pc.less_equal(held, before), False), True).as_py()
    if wrong >= 0:
        what = held[wrong].as_py()
        if what == before[wrong].as_py():
            raise DataError(f"The id {what!r} stands for two images; give each one of its own.")
        raise DataError(
            f"The manifest has more than {MOST_SORTED} images and is not sorted: the id {what!r} comes after "
            f"{before[wrong].as_py()!r}. Sort it by id, or split it."
        )
    return str(held[-1].as_py())


def _located(part: pa.Table, base: str) -> pa.Table:
    """A part whose paths are absolute or URIs; relative ones are beside the manifest."""
    paths = [each if "://" in each or each.startswith("/") else f"{base}/{each}" for each in part["path"].to_pylist()]
    for protocol in {p.partition("://")[0] for p in paths if "://" in p}:
        with _translated(f"{protocol}://"):
            fsspec.get_filesystem_class(protocol)
    return part.set_column(1, "path", pa.array(paths, pa.string()))


@contextmanager
def _translated(source: str) -> Iterator[None]:
    """What fsspec and Arrow raise as errors of this program."""
    try:
        yield
    except ImportError as error:  # names the package
        raise DependencyError(f"{source} cannot be read here: {error}.") from error
    except (OSError, ValueError, pa.ArrowException) as error:
        raise DataError(f"{source} cannot be read: {error}") from error
