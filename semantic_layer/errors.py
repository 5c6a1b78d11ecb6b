"""What can go wrong, in one small family: a code, a sentence, a next step, and whether a retry can help."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar


class WellheadError(Exception):
    """A failure that a user can act on.

    `code` is stable and documented in docs/errors.md; `message` is one sentence that names the file, line,
    field or engine; `hint` is the next step. `retryable` says whether the same call may succeed later.
    `exit_code` is what the command line returns.
    """

    code: ClassVar[str] = "failed"
    retryable: ClassVar[bool] = False
    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        apart = "\n" if "\n" in self.message else " "
        return f"{self.code}: {self.message}" + (f"{apart}{self.hint}" if self.hint else "")


class InvalidArgument(WellheadError):
    """An argument, option or value that cannot be used as given."""

    code = "invalid_argument"
    exit_code = 2


class InvalidFilter(InvalidArgument):
    """A filter whose form, operator or value does not fit the field it names."""

    code = "invalid_filter"


class UnknownName(InvalidArgument):
    """A name that does not exist for this caller: product, dataset, column, metric, dimension, tool argument …

    A name the caller may not discover raises exactly this error, with suggestions only from what the caller
    may discover, so that "forbidden" and "absent" cannot be told apart.
    """

    code = "unknown_name"

    def __init__(self, kind: str, asked: str, known: Iterable[str] = (), *, hint: str = "") -> None:
        near = close_names(asked, known)
        suggestion = "Did you mean " + " or ".join(repr(name) for name in near) + "?" if near else ""
        super().__init__(f"no {kind} {asked!r}.", hint=" ".join(part for part in (suggestion, hint) if part))
        self.kind = kind
        self.asked = asked
        self.near = near


class Refused(WellheadError):
    """Asked for correctly, and not allowed: `rule` names why; the hint says what the caller can do instead."""

    code = "refused"
    exit_code = 4

    def __init__(self, message: str, *, rule: str, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.rule = rule


class Unauthenticated(WellheadError):
    """No usable credential: absent, malformed, expired or meant for another audience."""

    code = "unauthenticated"
    exit_code = 4


class EngineUnavailable(WellheadError):
    """An engine that was asked for and does not answer. It is named, and never silently replaced."""

    code = "engine_unavailable"
    retryable = True
    exit_code = 5


class InternalFailure(WellheadError):
    """A mistake of ours. The exception's own text stays in the server's log, under the audit id that is named."""

    code = "internal"


class DeadlineExceeded(WellheadError):
    """Work that ran past its deadline and was stopped."""

    code = "deadline_exceeded"
    retryable = True


class Cancelled(WellheadError):
    """Work that was stopped because the caller went away."""

    code = "cancelled"
    retryable = True


class Busy(WellheadError):
    """Somebody else holds what this call needs (another ingest of the same product, a full queue)."""

    code = "busy"
    retryable = True


class LimitExceeded(WellheadError):
    """A caller used up one of its own limits. `retry_after` is in how many whole seconds it may call again."""

    code = "limit_exceeded"
    retryable = True

    def __init__(self, message: str, *, retry_after: int = 1, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.retry_after = retry_after


class EditionConflict(WellheadError):
    """The ledger moved between reading and publishing; nothing was changed."""

    code = "edition_conflict"
    retryable = True


class CorruptGeneration(WellheadError):
    """Sealed matter that no longer matches its manifest. It is never served."""

    code = "corrupt_generation"
    exit_code = 7


class NewerFormat(WellheadError):
    """A file of ours written by a newer version than this one can read."""

    code = "newer_format"
    exit_code = 7


class SourceFailed(WellheadError):
    """A source or one of its files cannot be read, and why."""

    code = "source_failed"


class GateFailed(WellheadError):
    """A candidate did not pass its contract, quality or evaluation gates; the live generation keeps serving."""

    code = "gate_failed"
    exit_code = 6


class AuditBroken(WellheadError):
    """The audit log is not as it was written: something of it was edited, deleted, reordered or cut off."""

    code = "audit_broken"
    exit_code = 7


class OutOfSpace(WellheadError):
    """The disk filled up; what was half written is removed and the live generation keeps serving."""

    code = "out_of_space"


@dataclass(frozen=True, order=True)
class Problem:
    """One mistake in a file that a person wrote."""

    file: str
    line: int
    message: str
    suggestion: str = ""

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.message}" + (f" {self.suggestion}" if self.suggestion else "")


class InvalidWorkspace(WellheadError):
    """Every mistake found while loading a workspace, at once."""

    code = "invalid_workspace"
    exit_code = 3

    def __init__(self, problems: Iterable[Problem], *, root: Path | None = None) -> None:
        self.problems = tuple(sorted(set(problems)))
        count = len(self.problems)
        where = f" in {root}" if root else ""
        listing = "\n".join(f"  {problem}" for problem in self.problems)
        super().__init__(
            f"{count} mistake{'s' if count != 1 else ''}{where}:\n{listing}",
            hint="Mend the lines above and run `wellhead validate`.",
        )


def close_names(asked: str, known: Iterable[str], limit: int = 3) -> tuple[str, ...]:
    """The known names nearest to the one asked for, best first, case ignored; none when nothing is near."""
    by_folded = {name.casefold(): name for name in known}
    near = difflib.get_close_matches(asked.casefold(), by_folded, n=limit, cutoff=0.6)
    return tuple(by_folded[name] for name in near)
