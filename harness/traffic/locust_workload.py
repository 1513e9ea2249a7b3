"""Loading a plain locustfile and checking that it can make load at all. Only for the Locust subprocess."""

from __future__ import annotations

import inspect
import sysconfig
import traceback
from pathlib import Path
from typing import TYPE_CHECKING

from locust.util.load_locustfile import load_locustfile

if TYPE_CHECKING:
    from locust import User


_NOT_THEIRS = ("site-packages", sysconfig.get_paths()["stdlib"], str(Path(__file__).parent.parent), "<frozen")


class WorkloadError(Exception):
    """The locustfile cannot be used: `where` (file:line), `what` it is, `hint` what to do."""

    def __init__(self, where: str, what: str, hint: str) -> None:
        super().__init__(what)
        self.where, self.what, self.hint = where, what, hint


def load(path: Path, *, weighted: bool = False) -> list[type[User]]:
    """Import the locustfile and return its user classes; WorkloadError says what is wrong with it.

    `weighted`: classes are drawn by weight (open loop), and one with a `fixed_count` alone is never drawn.
    """
    if not path.is_file():
        raise WorkloadError(str(path), "no such file", "give the path of a Locust file, beside the scenario")
    try:
        found, _ = load_locustfile(str(path))
    except BaseException as error:  # noqa: BLE001 - a file of the user's may raise anything, SystemExit too
        raise WorkloadError(*_importing(path, error)) from None
    classes = [user for _, user in sorted(found.items()) if user.weight > 0 or user.fixed_count > 0]
    if weighted:
        classes = [user for user in classes if user.weight > 0]
    if not classes:
        raise WorkloadError(
            str(path),
            "it defines no user class (that is not abstract and has a weight)" if not found else "every weight is 0",
            "write a class that inherits from locust.FastHttpUser and has a method marked @task",
        )
    for user in classes:
        if not user.tasks:
            raise WorkloadError(
                _line_of(user, path), f"user class {user.__name__} has no task", "mark a method of it with @task"
            )
    if len({user.__name__ for user in classes}) < len(classes):
        raise WorkloadError(str(path), "two user classes have the same name", "rename one of them")
    return classes


def _importing(path: Path, error: BaseException) -> tuple[str, str, str]:
    if isinstance(error, SyntaxError):
        return f"{error.filename}:{error.lineno}", f"it cannot be imported: SyntaxError: {error.msg}", ""
    frames = traceback.extract_tb(error.__traceback__)
    # The last line of the user's own code that was running; ours, Locust's and importlib's say nothing.
    own = [f for f in frames if Path(f.filename).is_relative_to(path.parent) and "site-packages" not in f.filename]
    frame = own[-1] if own else None
    where = f"{frame.filename}:{frame.lineno}" if frame else str(path)
    line = f" in `{frame.line}`" if frame and frame.line else ""
    what = "".join(traceback.format_exception_only(error)).strip().splitlines()[-1]
    hint = "the workload runs in the Python that runs agentstorm: install what it imports there"
    return where, f"it cannot be imported: {what}{line}", hint if isinstance(error, ImportError) else ""


def own_line(error: BaseException) -> str:
    """Return ``file:line`` of the workload's own code that raised `error`, or nothing."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [f for f in frames if not any(folder in f.filename for folder in _NOT_THEIRS)]
    return f"{Path(own[-1].filename).name}:{own[-1].lineno}" if own else ""


def _line_of(user: type[User], path: Path) -> str:
    try:
        return f"{inspect.getsourcefile(user) or path}:{inspect.getsourcelines(user)[1]}"
    except (OSError, TypeError):
        return str(path)
