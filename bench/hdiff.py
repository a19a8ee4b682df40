#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""HDiffPatch's library on two files: make OLD NEW DELTA | apply OLD DELTA NEW."""
import pathlib
import sys

import hdiffpatch

what, *names = sys.argv[1:]
files = [pathlib.Path(n) for n in names]
if what == "make":
    files[2].write_bytes(hdiffpatch.diff(files[0].read_bytes(), files[1].read_bytes(), compression=hdiffpatch.Lzma2Config(level=9)))
else:
    files[2].write_bytes(hdiffpatch.apply(files[0].read_bytes(), files[1].read_bytes()))
