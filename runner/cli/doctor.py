"""``optbench doctor``: what a machine offers to training, and what is wrong with it."""

import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from runner.cli.arguments import Parser
from runner.config.options import configs_dir
from runner.run.process import cores

LEAST_FREE_BYTES = 2**30


def parser() -> Parser:
    """Return what the command takes."""
    return Parser("doctor", "What this machine offers, and what is wrong with it.")


def run(argv: Sequence[str]) -> int:
    """Print what was found; the exit code is 1 where something is wrong."""
    parser().parse_args(argv)
    findings = examine()
    for finding in findings:
        print(f"{'ok   ' if finding.fine else 'WRONG'} {finding.what:<12} {finding.found}")
    return 0 if all(finding.fine for finding in findings) else 1


@dataclass(frozen=True)
class Finding:
    """One thing looked at."""

    what: str
    fine: bool
    found: str


def examine() -> list[Finding]:
    """Look at versions, devices, precision modes, cores, data and disk."""
    import torch

    findings = [
        _version(name) for name in ("torch", "torchvision", "hydra-core", "omegaconf", "scikit-learn", "pandas")
    ]
    findings.append(Finding("configs", (configs_dir() / "config.yaml").is_file(), str(configs_dir())))
    devices = ["cpu"]
    if torch.cuda.is_available():
        devices += [f"cuda ({torch.cuda.get_device_name(i)})" for i in range(torch.cuda.device_count())]
    if torch.backends.mps.is_available():
        devices.append("mps")
    findings.append(Finding("device", True, ", ".join(devices)))
    half = "none, bf16, fp16" if torch.cuda.is_available() else "none, bf16 (fp16 needs cuda)"
    findings.append(Finding("amp", True, half))
    findings.append(Finding("cores", True, f"{cores()}, {torch.get_num_threads()} threads a run"))
    root = Path(os.environ.get("OPTBENCH_DATA", "~/.cache/optbench")).expanduser()
    found = [n for n in ("MNIST", "FashionMNIST") if (root / n / "raw").is_dir()]
    where = (
        f"{root}: {', '.join(found) or 'no image data (data.download=true fetches it, OPTBENCH_DATA names a folder)'}"
    )
    findings.append(Finding("data", True, f"embedded: digits; {where}"))
    free = shutil.disk_usage(Path.cwd()).free
    findings.append(Finding("disk", free >= LEAST_FREE_BYTES, f"{free / 2**30:.1f} GiB free here"))
    writable = os.access(Path.cwd(), os.W_OK)
    findings.append(Finding("outputs", writable, f"{Path.cwd()}: {'writable' if writable else 'not writable'}"))
    return findings


def _version(package: str) -> Finding:
    try:
        return Finding(package, True, version(package))
    except PackageNotFoundError:
        return Finding(package, False, "not installed")
