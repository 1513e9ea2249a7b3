"""The HTTP fault proxy as one more container of a project: beside Toxiproxy, in the same networks.

The image is anybody's with a Python; a copy of our code is mounted read-only. It goes with the project, and its faults
with it.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness import faultproxy, open_files

if TYPE_CHECKING:
    from collections.abc import Mapping

SERVICE = "agentstorm-http-faults"
_ADMIN_PORT = 29100
_STAGED, _INSIDE = "http_faults_code", "/opt/agentstorm"


def staged(folder: Path) -> Path:
    """Copy into `folder` what the proxy's code is, and return where it is: for everybody to read, whatever the umask
    says that we were installed with, and ours to relabel where SELinux keeps containers from what is not theirs."""
    code = folder / _STAGED
    package = code / "harness" / "faultproxy"
    package.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(open_files.__file__, package.parent / "open_files.py")
    for module in Path(faultproxy.__file__).parent.glob("*.py"):
        shutil.copyfile(module, package / module.name)
    for path in (code, *code.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)
    return code


def unstage(folder: Path) -> None:
    """Remove what `staged` made, if it did."""
    shutil.rmtree(folder / _STAGED, ignore_errors=True)


def listens(upstreams: Mapping[str, str]) -> dict[str, str]:
    """Return, for each upstream, where the proxy listens for it, as others in its networks see it."""
    return {name: f"{SERVICE}:{_ADMIN_PORT + number}" for number, name in enumerate(upstreams, 1)}


def service(
    image: str, code: Path, upstreams: Mapping[str, str], beside: Mapping[str, Any], admin: str, seed: int
) -> dict[str, Any]:
    """Return the service for a Compose file. `code` is where it is `staged`; `upstreams` has the real addresses;
    `beside` is Toxiproxy's service; `admin` the ``host:port`` that the admin is published on."""
    routes = [word for name, address in upstreams.items() for word in ("--route", f"{name}={address}")]
    command = ["--listen", "0.0.0.0", "--first-port", str(_ADMIN_PORT), "--seed", str(seed), *routes]  # noqa: S104
    made: dict[str, Any] = {
        "image": image,
        "entrypoint": ["python3", "-m", "harness.faultproxy"],
        "command": [word.replace("$", "$$") for word in command],
        "environment": {"PYTHONPATH": _INSIDE, "PYTHONDONTWRITEBYTECODE": "1"},
        "volumes": [f"{code.resolve()}:{_INSIDE}:ro,z".replace("$", "$$")],
        "working_dir": "/",
        "ports": [f"{admin}:{_ADMIN_PORT}"],
        "init": True,
        "user": "65534:65534",
        "read_only": True,
        "restart": "no",
        "cap_drop": ["ALL"],
        "security_opt": ["no-new-privileges:true"],
        "stop_grace_period": "2s",
    }
    # What it shares with Toxiproxy: where it is, how it finds others, whose it is.
    for key in ("networks", "dns_opt", "dns_search", "labels"):
        if key in beside:
            made[key] = list(beside[key]) if key == "networks" else beside[key]
    return made
