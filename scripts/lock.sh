#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Writes constraints.txt anew: one exact version of everything, for each Python from 3.10 to 3.12; and
# constraints-libero.txt: what LIBERO needs beyond what is installed without extras.
set -euo pipefail
cd "$(dirname "$0")/.."

tools=$(mktemp -d)
trap 'rm -rf "$tools"' EXIT
python3 -m venv "$tools"
"$tools/bin/pip" install --quiet uv

resolve() {
  "$tools/bin/uv" pip compile --quiet --universal --python-version 3.10 --no-annotate --no-header "$@" |
    # What holds on every machine that is supported need not be said on every line.
    sed -E -e "s/ and (platform_machine|sys_platform|platform_python_implementation) [!=]= '[A-Za-z0-9_]+'//g" \
           -e "s/ and python_full_version < '3.13'//" \
           -e "s/ ; python_full_version < '3.13'$//"
}

{
  echo '# Exact versions of everything, for Python 3.10 to 3.12 on Linux. Written by `make lock`; do not edit.'
  resolve requirements/*.txt
} >"$tools/constraints.txt"
mv "$tools/constraints.txt" constraints.txt

# What is installed without extras is seen through .venv. opencv-python-headless has what opencv-python has but windows.
beneath=$(resolve --constraint constraints.txt requirements/{run,dev,ros}.txt | grep -oE '^[a-z0-9._-]+' | paste -sd'|')
{
  echo '# What LIBERO needs beyond what .venv has. Written by `make lock`; do not edit.'
  resolve --constraint constraints.txt requirements/run.txt requirements/judges/libero.txt |
    grep -vE "^($beneath|opencv-python)=="
} >"$tools/constraints-libero.txt"
mv "$tools/constraints-libero.txt" constraints-libero.txt
