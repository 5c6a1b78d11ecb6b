"""The forms of a file that an answer's rows can be written in."""

from __future__ import annotations

from typing import Literal, get_args

FileFormat = Literal["csv", "arrow", "parquet"]
FORMATS: tuple[FileFormat, ...] = get_args(FileFormat)
