#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes C sources that hold files: the migrations in order, or one document.

embed.py migrations OUT FILE...    numbered NNNN_name.sql files as a table of struct db_migration
embed.py document OUT NAME FILE    the file's bytes as const char NAME[]
"""
import pathlib
import re
import sys


def literal(data: bytes) -> str:
    """The bytes as C strings, one a line of the file. The compiler puts them together."""
    lines = data.split(b"\n")
    parts = [line + b"\n" for line in lines[:-1]] + ([lines[-1]] if lines[-1] else [])
    out = []
    for part in parts:
        text = "".join(f"\\{b:03o}" if b < 32 or b > 126 or chr(b) in '"\\?' else chr(b) for b in part)
        out.append(f'        "{text}"')
    return "\n".join(out) or '        ""'


def migrations(out, files):
    rows = []
    for name in files:
        path = pathlib.Path(name)
        match = re.fullmatch(r"(\d{4})_([a-z0-9_]+)\.sql", path.name)
        if not match:
            sys.exit(f"{path}: a migration is named NNNN_what.sql")
        rows.append((int(match[1]), match[2], path.read_bytes()))
    rows.sort()
    if [r[0] for r in rows] != list(range(1, len(rows) + 1)):
        sys.exit("migrations must be numbered from 0001 without a gap")
    body = "".join(f'        {{ {n}, "{name}",\n{literal(sql)} }},\n' for n, name, sql in rows)
    out.write_text('#include "server/migrations.h"\n\n'
                   f"const struct db_migration migrations[] = {{\n{body}}};\n"
                   "const size_t migrations_len = sizeof(migrations) / sizeof(migrations[0]);\n")


def document(out, name, file):
    out.write_text(f'#include "server/openapi.h"\n\nconst char {name}[] =\n'
                   f"{literal(pathlib.Path(file).read_bytes())};\nconst size_t {name}_len = sizeof({name}) - 1;\n")


if __name__ == "__main__":
    kind, target, *rest = sys.argv[1:]
    {"migrations": lambda: migrations(pathlib.Path(target), rest),
     "document": lambda: document(pathlib.Path(target), *rest)}[kind]()
