"""The check that the recogniser's model is installed and whole, if a backend in use runs here; and its denoiser."""

import hashlib
from pathlib import Path

from flowpi.audio.denoise import GET_SPEEX, has_speex
from flowpi.config.schema import Config
from flowpi.core.errors import EngineUnavailable
from flowpi.doctor import units
from flowpi.doctor.ask import install_again
from flowpi.doctor.findings import Finding, fine
from flowpi.server.model_files import (
    AUTO,
    ENGINE_PACKAGES,
    Models,
    engine_for,
    files_of,
    final_model,
    interim_model,
    missing_packages,
    model_for,
)
from flowpi.setup.machine import owned_by_package

PART = "model"

RESTART = "sudo systemctl restart flowpi-asr"
PIP = f"sudo /opt/flowpi/bin/pip install '/opt/flowpi/src[local]' && {RESTART}"

CHECKSUMS = "SHA256SUMS"
"""The file in the directory of a model with what `sha256sum` said where it was made."""


def is_wanted(config: Config) -> bool:
    used = (config.backends[name] for name in config.backends_in_use)
    return config.server.engine != "echo" and any(backend.on_this_machine for backend in used)


def examine(config: Config) -> list[Finding]:
    if not is_wanted(config):
        return []
    if missing := missing_packages():
        return [_failure(f"the recogniser's packages are not installed ({', '.join(missing)})", install_again(PIP))]
    models = Models(config.server.model, config.server.interim_model, config.server.languages)
    try:
        engine = config.server.engine if config.server.engine != AUTO else engine_for(final_model(models))
        directory = model_for(engine, models)
        interim_model(models)
    except EngineUnavailable as error:
        named = config.server.engine in ENGINE_PACKAGES or models.model or models.interim_model
        return [_failure(error.message, f"{error.hint}; then `{RESTART}`" if named else install_again(PIP))]
    if missing := missing_packages(engine):
        return [_failure(f"the packages of {engine} are not installed ({', '.join(missing)})", _get_packages(engine))]
    if damaged := damaged_files(directory):
        what = f"the speech model in {directory} is damaged (not as in {CHECKSUMS}: {', '.join(damaged)})"
        return [_failure(what, f"copy it again, then `{RESTART}`")]
    if config.audio.denoise == "speex" and not has_speex():
        return [Finding("audio.denoise", "warning", "no_library", "pyspeex-noise is not installed", GET_SPEEX)]
    used = units.status_text(units.RECOGNISER)
    return [fine(PART, described(directory, engine) + (f"; flowpi-asr uses {used}" if used else ""))]


def described(directory: Path, engine: str) -> str:
    """Return where a model is, for which engine, and its files, size and checksum."""
    files = files_of(directory, engine)
    largest = max(files, key=lambda file: file.stat().st_size)
    size_mb = sum(file.stat().st_size for file in files) / 1e6
    names = ", ".join(file.name for file in files)
    return f"is in {directory}, for {engine}: {names}, {size_mb:.0f} MB, sha256 of {largest.name} {sha256(largest)[:8]}"


def damaged_files(directory: Path) -> list[str]:
    """Return the files that are not as `CHECKSUMS` says. None is, if there is no such file."""
    try:
        lines = (directory / CHECKSUMS).read_text(errors="replace").splitlines()
    except OSError:
        return []
    expected = {name.lstrip(" *"): digest for digest, _, name in (line.partition(" ") for line in lines) if name}
    expected.pop(CHECKSUMS, None)  # `sha256sum *` names it when it is there already
    return [name for name, digest in expected.items() if sha256(directory / name) != digest]


def sha256(file: Path) -> str:
    """Return the checksum of a file in hexadecimal, empty if it cannot be read."""
    try:
        with file.open("rb") as content:
            return hashlib.file_digest(content, "sha256").hexdigest()
    except OSError:
        return ""


def _failure(what: str, hint: str) -> Finding:
    return Finding(PART, "failure", "no_model", what, hint)


def _get_packages(engine: str) -> str:
    """Return the command that installs what an engine needs, in the way flowpi was installed."""
    if owned_by_package(""):
        wanted = " ".join(name.replace("_", "-") for name in ENGINE_PACKAGES[engine])
        pip = f"sudo apt-get install python3-pip && sudo pip --python /opt/flowpi/bin/python3 install {wanted}"
    else:
        pip = f"sudo /opt/flowpi/bin/pip install '/opt/flowpi/src[{engine}]'"
    return f"{pip} && {RESTART}"
