"""Frames that gc has moved: ../../collection.md#rewriting."""

import glob
import os

from .brick import HEADER_LEN, open_sidecar
from .wire import FormatError


class Moved:
    """Where frames stand now, by the brick and the place where they stood: read from sidecars when first asked."""

    def __init__(self, directories: list[str], key, store_id: bytes):
        self.directories, self.key, self.store_id = directories, key, store_id
        self.places: dict[tuple[bytes, int], list[tuple[bytes, int, int]]] | None = None

    def places_of(self, brick: bytes, number: int) -> list[tuple[bytes, int, int]]:
        """Brick, offset and length of each frame with this origin."""
        if self.places is None:
            self.places = {}
            for directory in self.directories:
                for path in glob.glob(os.path.join(glob.escape(directory), "tocs", "??", "*.toc")):
                    self._add(path)
        return self.places.get((brick, number), [])

    def _add(self, path: str):
        try:
            name = bytes.fromhex(os.path.basename(path).removesuffix(".toc"))
            with open(path, "rb") as f:
                toc = open_sidecar(f.read(), name, self.key)
            frames = toc.open(self.key)
        except (FormatError, ValueError):
            return  # It says nothing; what it would have said is verified by its chunks' hashes alone.
        at = HEADER_LEN
        for (length, _, _), origins in zip(frames, toc.origins):
            for origin in origins if toc.store_id == self.store_id else ():
                self.places.setdefault(origin, []).append((name, at, length))
            at += length
