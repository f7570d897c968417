"""What a figure was measured on: processor, libraries, memory."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from importlib import metadata
from pathlib import Path
from typing import TypedDict

CPU_FLAGS = (
    *("avx2", "avx512f", "avx_vnni", "avx512_vnni", "avx512_bf16", "avx512_fp16"),
    *("amx_bf16", "amx_int8", "asimd", "asimddp", "bf16", "i8mm"),
)
"""Instructions that decide an engine's speed."""
INT8_FLAGS = ("avx_vnni", "avx512_vnni", "amx_int8")
"""Any of them: the CPU sums int8 products without saturation."""
BF16_FLAGS = ("avx512_bf16", "amx_bf16")
"""Any of them: the CPU multiplies bf16 itself."""
LIBRARIES = {
    "openvino": "openvino",
    "onnxruntime": "onnxruntime",
    "onnxruntime-gpu": "onnxruntime-gpu",
    "tensorrt": "tensorrt",
    "torch": "torch",
    "numpy": "numpy",
    "opencv": "opencv-contrib-python-headless",
    "mlkd-track": "mlkd-track",
}
"""Name shown → distribution."""


class Machine(TypedDict):
    """JSON object `machine` of a benchmark."""

    cpu: str
    cpus: int
    cpu_flags: list[str]
    gpu: str | None
    isa_limit: str | None
    system: str
    python: str
    versions: dict[str, str]
    load_1min: float | None
    rss_mb: float | None


def describe_machine() -> Machine:
    """Look the machine up; what cannot be known is None or left out."""
    cpu, flags = _cpu()
    installed = {d.name.lower(): d.version for d in metadata.distributions() if d.name}
    versions = {n: installed[d] for n, d in LIBRARIES.items() if d in installed}
    affinity = getattr(os, "sched_getaffinity", None)
    return Machine(
        cpu=cpu,
        cpus=len(affinity(0)) if affinity else os.cpu_count() or 1,
        cpu_flags=flags,
        gpu=_gpu(),
        isa_limit=os.environ.get("ONEDNN_MAX_CPU_ISA"),
        system=f"{platform.system()} {platform.release()} {platform.machine()}",
        python=platform.python_version(),
        versions=versions,
        load_1min=round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
        rss_mb=rss_mb(),
    )


def int8_flags() -> list[str]:
    """Int8 instructions of this CPU; none where the system does not tell (only Linux does)."""
    return [flag for flag in _cpu()[1] if flag in INT8_FLAGS]


def bf16_flags() -> list[str]:
    """Instructions of this CPU that multiply bf16; none where the system does not tell."""
    return [flag for flag in _cpu()[1] if flag in BF16_FLAGS]


def rss_mb() -> float | None:
    """Resident memory of this process, MB; None where the system does not tell."""
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 1e6
    except (OSError, ValueError, AttributeError):
        return None


def _gpu() -> str | None:
    """Name, driver, clocks, temperature and power of the NVIDIA GPU, as its tool tells them."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return None
    fields = "name,driver_version,clocks.sm,clocks.mem,temperature.gpu,power.draw,power.limit"
    command = [tool, f"--query-gpu={fields}", "--format=csv,noheader"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() or None


def _cpu() -> tuple[str, list[str]]:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or "unknown", []
    fields: dict[str, str] = {}
    for line in lines:
        name, _, value = line.partition(":")
        fields.setdefault(name.strip(), value.strip())
    present = set(fields.get("flags", fields.get("Features", "")).split())
    return fields.get("model name", platform.machine()), [f for f in CPU_FLAGS if f in present]
