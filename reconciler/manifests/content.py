"""Bytes of a file to text that YAML allows, or the flaw that says why not."""

import re
from codecs import BOM_UTF8

from reconciler.manifests.nodes import Flaw, Mark

_UNPRINTABLE = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_NOT_A_MANIFEST = "if it is no manifest, name it in .reconcilerignore"


def decode(data: bytes) -> str | Flaw:
    """Return the text of a file."""
    if data.find(b"\0") >= 0:
        offset = data.find(b"\0")
        return Flaw(
            _mark(data, offset), f"a binary file: byte 0x00 at offset {offset}", _NOT_A_MANIFEST
        )
    try:
        text = data.removeprefix(BOM_UTF8).decode()
    except UnicodeDecodeError as error:
        offset = error.start + (len(BOM_UTF8) if data.startswith(BOM_UTF8) else 0)
        return Flaw(
            _mark(data, offset),
            f"byte 0x{data[offset]:02x} at offset {offset} is not UTF-8",
            "save the file as UTF-8",
        )
    found = _UNPRINTABLE.search(text)
    if found is None:
        return text
    before = text[: found.start()]
    return Flaw(
        Mark(before.count("\n") + 1, len(before) - before.rfind("\n")),
        f"the character U+{ord(found[0]):04X} is not allowed in YAML",
        'write it as an escape in double quotes, such as "\\x07"',
    )


def _mark(data: bytes, offset: int) -> Mark:
    before = data[:offset]
    line = before[before.rfind(b"\n") + 1 :].removeprefix(BOM_UTF8)
    return Mark(before.count(b"\n") + 1, len(line.decode(errors="replace")) + 1)
