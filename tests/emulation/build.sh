#!/usr/bin/env bash
# The engine for 64-bit ARM in build/aarch64, with a Python and a NumPy that run it under QEMU.
#
# Needs Debian's qemu-user and g++-aarch64-linux-gnu, and the virtual environment of `make setup`.
set -euo pipefail
cd "$(dirname "$0")/../.."
PYTHON=.venv/bin/python
HERE=build/aarch64
ROOT=$HERE/root
SITE=$HERE/site
mkdir -p "$ROOT" "$SITE"

# Python 3.11 for ARM is Debian's. Apt gets it into a folder of its own: this system's packages stay as they are.
if [ ! -e "$ROOT/usr/bin/python3.11" ]; then
  APT="$PWD/$HERE/apt"
  mkdir -p "$APT/lists/partial" "$APT/cache/archives/partial"
  touch "$APT/status"
  options=(-qq -o APT::Architecture=arm64 -o APT::Architectures::=arm64 -o "Dir::State::Lists=$APT/lists"
           -o "Dir::State::status=$APT/status" -o "Dir::Cache=$APT/cache" -o APT::Sandbox::User=root)
  apt-get "${options[@]}" update
  apt-get "${options[@]}" install -y --no-install-recommends --download-only \
    python3.11-minimal libpython3.11-stdlib libpython3.11-dev libstdc++6
  for package in "$APT"/cache/archives/*.deb; do dpkg-deb -x "$package" "$ROOT"; done
fi
if [ ! -e "$SITE/numpy" ]; then
  $PYTHON -m pip download --quiet --no-deps --only-binary=:all: --constraint constraints.txt --dest "$HERE/wheels" \
    --python-version 3.11 --platform manylinux_2_28_aarch64 --platform manylinux2014_aarch64 numpy
  $PYTHON -m zipfile -e "$HERE"/wheels/numpy-*.whl "$SITE"
fi

$PYTHON -m pip install --quiet --constraint constraints.txt nanobind
CMAKE=.venv/bin/cmake
$CMAKE -S . -B "$HERE/cmake" -DCMAKE_SYSTEM_NAME=Linux -DCMAKE_SYSTEM_PROCESSOR=aarch64 \
  -DCMAKE_CXX_COMPILER=aarch64-linux-gnu-g++ -Dnanobind_DIR="$($PYTHON -m nanobind --cmake_dir)" \
  -DPython_EXECUTABLE="$PWD/$PYTHON" -DPython_INCLUDE_DIR="$PWD/$ROOT/usr/include/python3.11" \
  -DPython_NumPy_INCLUDE_DIR="$PWD/$SITE/numpy/_core/include" \
  -DCMAKE_CXX_FLAGS="-I$PWD/$ROOT/usr/include" > "$HERE/cmake.log" || { cat "$HERE/cmake.log" >&2; exit 1; }
$CMAKE --build "$HERE/cmake" --parallel "$(nproc)" > "$HERE/cmake.log" || { cat "$HERE/cmake.log" >&2; exit 1; }
cp "$HERE"/cmake/_native*.so "$SITE/_native.so"
