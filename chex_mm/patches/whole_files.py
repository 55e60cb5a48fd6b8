"""Files that mmengine writes appear whole or not at all.

A run may be killed while it writes; what is under a checkpoint's name is then
the file that was there before, or none.
"""

from __future__ import annotations

from pathlib import Path

from mmengine.fileio import LocalBackend, register_backend

from ..files import replacing


class WholeFileBackend(LocalBackend):
    """mmengine's local files, written under another name first."""

    def put(self, obj: bytes, filepath: str | Path) -> None:
        """Writes bytes."""
        with replacing(Path(filepath)) as unfinished:
            unfinished.write_bytes(obj)

    def put_text(
        self, obj: str, filepath: str | Path, encoding: str = 'utf-8'
    ) -> None:
        """Writes text."""
        self.put(obj.encode(encoding), filepath)


def write_whole_files() -> None:
    """Makes mmengine write local files, checkpoints above all, whole."""
    register_backend('local', WholeFileBackend, force=True, prefixes='')
