# `make demo` and `make test` are the two to know: each makes what it needs first, and only once.
# On Linux pip takes the CUDA build of torch unless its settings offer a CPU build; see constraints.txt.

PYTHON := $(shell for python in python3.11 python3.12 python3.13 python3; do \
	$$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$python && break; done)
PYTHON_VERSION = $(shell $(PYTHON) -c 'import sys; print("%d.%d" % sys.version_info[:2])')
SYSTEM_PACKAGES := tools/system_packages.sh
WINDOW_PACKAGES := xvfb xauth libegl1 libgl1 libglib2.0-0 libdbus-1-3 libxkbcommon-x11-0 libfontconfig1 \
	libxcb-cursor0 libxcb-icccm4 libxcb-keysyms1 libxcb-shape0 xdotool scrot
INSTALL := -m pip install --quiet --disable-pip-version-check --constraint constraints.txt
DECLARED := pyproject.toml constraints.txt
ON_SCREEN := $(if $(filter Linux,$(shell uname -s)),xvfb-run --auto-servernum --server-args "-screen 0 1600x1000x24")

.PHONY: demo test test-core lint docs-pictures setup system-packages clean

demo: .venv/base.stamp  ## train on shipped nuclei for a minute and write a picture
	.venv/bin/napari-unet demo --out demo-output

test: setup lint  ## everything that must hold
	$(ON_SCREEN) .venv/bin/pytest

test-core: .venv-core/core.stamp  ## the core where neither napari nor a Qt binding is installed
	! .venv-core/bin/python -c 'import napari' 2>/dev/null
	.venv-core/bin/pytest tests/core src/napari_unet/core

lint: setup
	.venv/bin/ruff check
	.venv/bin/ruff format --check
	.venv/bin/mypy
	.venv/bin/lint-imports --no-cache

docs-pictures: setup  ## drive the dock on the shipped samples and photograph it for docs/
	NAPARI_CONFIG= PYTHONPATH=tests/window $(ON_SCREEN) .venv/bin/python tools/pictures.py

setup: .venv/dev.stamp

system-packages:  # what a real window, its mouse and its photographs need on a bare machine
	@$(SYSTEM_PACKAGES) $(WINDOW_PACKAGES)

clean:
	rm -rf .venv .venv-core demo-output

.venv/base.stamp: .venv/made.stamp $(DECLARED)
	.venv/bin/python $(INSTALL) --editable .
	touch $@

.venv/dev.stamp: .venv/made.stamp $(DECLARED) | system-packages
	.venv/bin/python $(INSTALL) --editable '.[gui,cluster,bioio]' --group dev
	touch .venv/base.stamp $@

.venv-core/core.stamp: .venv-core/made.stamp $(DECLARED)
	.venv-core/bin/python $(INSTALL) --editable . --group test
	touch $@

# pip is renewed because those before 25.1 know no dependency groups
.venv/made.stamp .venv-core/made.stamp:
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is missing; on Debian 12 or Ubuntu 24.04 type: \
	sudo apt-get install -y python3 python3-venv" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || $(SYSTEM_PACKAGES) python$(PYTHON_VERSION)-venv
	$(PYTHON) -m venv $(@D)
	$(@D)/bin/python $(INSTALL) --upgrade pip
	touch $@
