"""Real text to send: documents, manuals and source files of this machine, joined until there is enough. Not made by a counter."""

import gzip
import os
from pathlib import Path

ROOTS = ["/usr/share/doc", "/usr/share/man", "/usr/share/perl", "/usr/lib/python3", "~/.cargo/registry/src", "/usr/include", "~/.rustup"]
FILE_BYTES_MAX = 4 << 20


def texts(roots):
    """The contents of text files under the roots, in an order that does not depend on the day."""
    for root in roots:
        for folder, folders, names in os.walk(Path(root).expanduser()):
            folders.sort()
            for name in sorted(names):
                path = Path(folder, name)
                if path.is_symlink() or not path.is_file() or path.stat().st_size > FILE_BYTES_MAX:
                    continue
                content = path.read_bytes()
                content = gzip.decompress(content) if content[:2] == b"\x1f\x8b" else content
                if b"\0" not in content:
                    yield content


def build(path, size):
    """Makes the file unless it is there already and large enough; returns its path."""
    path = Path(path)
    if path.exists() and path.stat().st_size >= size:
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    written, partial = 0, path.with_suffix(".partial")
    with partial.open("wb") as out:
        for content in texts(ROOTS):
            written += out.write(content)
            if written >= size:
                break
    if written < size:
        raise RuntimeError(f"only {written} bytes of text on this machine, {size} wanted")
    partial.rename(path)
    return path


def records(path, size):
    """Splits a file into pieces of whole lines, each of at least `size` bytes but the last; joined, they are the file."""
    pieces, piece = [], bytearray()
    with Path(path).open("rb") as lines:
        for line in lines:
            piece += line
            if len(piece) >= size:
                pieces.append(bytes(piece))
                piece.clear()
    return [*pieces, bytes(piece)] if piece else pieces
