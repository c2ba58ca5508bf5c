# Every target installs what it needs on a fresh Debian or Raspberry Pi OS machine, and is quick the second time.
#
#   make demo    the main job: a human recording through the whole pipeline, no hardware, no account
#   make test    all tests            make check   format, lint, types, import layers
#   make test-long   every promise of docs/reliability.md as often as it says, its table anew, and `make mutants`
#   make test-rig    the appliance as users have it: containers with systemd, and a machine with a kernel of its own
#   make rig     what test-rig needs, from the package registries; in ~/.cache/flowpi-rig, which can be deleted
#   make bench   measure              make format  rewrite the files as `make check` wants them
#   make deb     the package for the Debian of this machine, in dist/; make check-deb: the same, checked by lintian
#   make lock    pin what the package is made of; make mutants: break flowpi in many ways, and see each found by a test
#   make fuzz    search for frames that break a role of a protocol: RUNS=250000 for each of the four

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INTEROP := tests/interop

# pyalsaaudio has no wheels: it is compiled against ALSA's headers.
BUILD_PACKAGES := gcc libasound2-dev python3-dev python3-venv
TEST_PACKAGES := $(BUILD_PACKAGES) chromium dosfstools e2fsprogs fish fuse3 groff-base iproute2 kmod \
	libasound2-plugins locales man-db mount nodejs openssl pocketsphinx-testdata pulseaudio sox strace systemd \
	util-linux zsh
# A kernel with FAT, in case the machine's own has none. That of a Pi has it.
ifeq ($(shell uname -m),x86_64)
TEST_PACKAGES += user-mode-linux
endif
# lgpio has wheels only for some Pythons; its sources need swig, and PYPI=1 to contain the library as the wheels do.
DEB_PACKAGES := $(BUILD_PACKAGES) build-essential debhelper swig
RIG_PACKAGES := dosfstools e2fsprogs git mmdebstrap mount mtools pocketsphinx-testdata qemu-system-x86 qemu-utils systemd \
	systemd-container util-linux
BENCH_PACKAGES := $(BUILD_PACKAGES) alsa-utils socat

.PHONY: help demo test test-long mutants test-rig rig check bench fuzz lock deb check-deb format clean
help:
	@sed -n '1,11s/^# \{0,1\}//p' Makefile

demo: $(VENV)/local.stamp
	$(BIN)/flowpi demo $(WAV)

test: $(VENV)/dev.stamp $(VENV)/node.stamp
	$(BIN)/python -m pytest --numprocesses 4 --dist worksteal --durations=10 --durations-min=5 $(ARGS)

test-long: $(VENV)/dev.stamp $(VENV)/node.stamp
	$(BIN)/python -m tests.reliability --numprocesses 4 --dist worksteal $(ARGS)
	$(if $(ARGS),,$(BIN)/python -m tests.mutants)

# Each breakage in tests/mutants/mutants.toml, found by the tests that belong to it.
mutants: $(VENV)/dev.stamp | test-packages
	$(BIN)/python -m tests.mutants $(ARGS)

# Debian roots, containers and mounts need root. Files that root writes here would be in the user's way. The `make` in a
# container gets none of this one's jobs. Builds run at a lower priority than the tests beside them.
AS_ROOT := $(if $(filter 0,$(shell id -u)),,sudo --preserve-env=HOME,XDG_CACHE_HOME )env --unset=MAKEFLAGS \
	--unset=MFLAGS PYTHONDONTWRITEBYTECODE=1
rig: $(VENV)/dev.stamp | rig-packages
	nice $(AS_ROOT) $(BIN)/python -m tests.rig.build

# These tests mostly wait. An emulated machine needs more than one core of this computer.
RIG_TEST := $(AS_ROOT) $(BIN)/python -m pytest -p no:cacheprovider --durations=10 --durations-min=5 tests/system --rig
test-rig: rig
	$(RIG_TEST) -m nspawn --numprocesses 4 --dist worksteal $(ARGS)
	$(RIG_TEST) -m vm --numprocesses 2 --dist worksteal $(ARGS)

check: $(VENV)/dev.stamp
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(VENV)/dev.stamp
	$(call need,$(BENCH_PACKAGES))
	$(BIN)/python -m tests.bench $(ARGS)

# The corpus and any failing input stay in .cache/fuzz, where the next run continues.
RUNS ?= 250000
fuzz: $(VENV)/dev.stamp
	$(BIN)/python -m tests.fuzz --runs $(RUNS) --seed 0 --keep .cache/fuzz $(ARGS)

# What the package is made of, with the hash of each file that the package registry has of it: for every processor and
# both releases of Debian in one lock, because the versions are the same but for what a line says about its Python.
# `make lock` adds and removes what pyproject.toml asks for; `make lock ARGS=--upgrade` takes the newest versions.
UV := build/lock/bin/uv
LOCK := $(UV) pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-annotate \
	--custom-compile-command 'make lock' $(ARGS)
lock:
	$(call need,$(BUILD_PACKAGES))
	[ -x $(UV) ] || { $(PYTHON) -m venv build/lock && build/lock/bin/pip install --quiet uv; }
	$(LOCK) --extra local --extra keyboard --group package pyproject.toml --output-file debian/requirements.lock
	$(LOCK) --group package-tools --output-file debian/tools.lock

# Built in a copy, because dpkg adds files. The same commit gives the same bytes: what is downloaded is locked, nothing
# is built with what is not, no object has the path where it was compiled (-g0), and the copies are newer than the
# commit, so that dpkg gives them its time. pip may not use its cache of what it built: that may come from another
# Python 3.x.
DEB := build/deb
DEB_PIP := $(DEB)/tools/bin/python -m pip --quiet --disable-pip-version-check --no-cache-dir
# Asked for once: a commit in the middle of a build must not change the time in the rest of it.
EPOCH := $(or $(SOURCE_DATE_EPOCH),$(shell git log -1 --format=%ct 2>/dev/null || date +%s))
deb: export SOURCE_DATE_EPOCH = $(EPOCH)
deb:
	$(call need,$(DEB_PACKAGES))
	@rm -rf $(DEB)
	@mkdir -p $(DEB)/flowpi/wheels dist
	tar --create --exclude=__pycache__ config debian flowpi systemd pyproject.toml README.md CHANGELOG.md LICENSE | \
		tar --extract --touch --directory=$(DEB)/flowpi
	/usr/bin/python3 -m venv $(DEB)/tools
	$(DEB_PIP) install --require-hashes --no-deps --requirement \
		<(sed -n '/^\(setuptools\|wheel\)==/,/[^\\]$$/p' debian/tools.lock)
	$(DEB_PIP) install --require-hashes --no-build-isolation --requirement debian/tools.lock
	PYPI=1 CFLAGS=-g0 $(DEB_PIP) wheel --require-hashes --no-deps --no-build-isolation --wheel-dir $(DEB)/flowpi/wheels \
		--requirement debian/requirements.lock
	$(DEB_PIP) wheel --no-deps --no-build-isolation --wheel-dir $(DEB)/flowpi/wheels ./$(DEB)/flowpi
	cd $(DEB)/flowpi && debian/make-changelog > debian/changelog
	cd $(DEB)/flowpi && PIP="$(CURDIR)/$(DEB)/tools/bin/python -m pip" \
		TOOLS="$(CURDIR)/$(DEB)/tools/bin/python" dpkg-buildpackage --build=binary --no-sign
	for file in $(DEB)/*.deb; do \
		$(DEB)/tools/bin/cyclonedx-py environment --output-reproducible --pyproject pyproject.toml --mc-type application \
			--output-file "$${file%.deb}.cdx.json" $(DEB)/flowpi/debian/flowpi/opt/flowpi/bin/python3; done
	cp $(DEB)/*.deb $(DEB)/*.cdx.json dist/
	@ls -lh dist

check-deb: deb
	$(call need,lintian)
	lintian --fail-on error $(DEB)/*.deb

format: $(VENV)/dev.stamp
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:
	rm -rf $(VENV) .*_cache build dist *.egg-info $(INTEROP)/node_modules

# A stamp holds when pyproject.toml is no newer. `dev` includes `local`.
$(VENV)/local.stamp: $(VENV)/pip.stamp pyproject.toml
	@if [ -e $(VENV)/dev.stamp ] && [ $(VENV)/dev.stamp -nt pyproject.toml ]; then touch $@; exit; fi
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[local]'
	@touch $@

$(VENV)/dev.stamp: $(VENV)/pip.stamp pyproject.toml
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@

.PHONY: test-packages rig-packages
test-packages:
	$(call need,$(TEST_PACKAGES))
rig-packages:
	$(call need,$(RIG_PACKAGES))

# Debian has npm in a package of its own, which would conflict with another nodejs that includes npm.
$(VENV)/node.stamp: $(INTEROP)/package.json $(INTEROP)/package-lock.json | test-packages
	$(call need,$(shell command -v npm > /dev/null || echo npm))
	npm ci --prefix $(INTEROP) --ignore-scripts --no-audit --no-fund
	@mkdir -p $(VENV) && touch $@

$(VENV)/pip.stamp:
	$(call need,$(BUILD_PACKAGES))
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo 'make: flowpi needs Python 3.11 or newer: make PYTHON=/path/to/python3.11' >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	@touch $@

# Install the Debian packages that are missing, one target at a time. If none is, this needs neither root nor a network.
define need
@missing=(); for package in $(1); do \
	status=$$(dpkg-query --show --showformat='$${db:Status-Status}' "$$package" 2>/dev/null || true); \
	[ "$$status" = installed ] || missing+=("$$package"); \
done; \
if (( $${#missing[@]} )); then \
	sudo=(); [ "$$(id -u)" = 0 ] || sudo=(sudo); \
	exec 9< Makefile; flock 9; \
	echo "installing $${missing[*]}"; \
	"$${sudo[@]}" apt-get -o DPkg::Lock::Timeout=600 --quiet update; \
	"$${sudo[@]}" env DEBIAN_FRONTEND=noninteractive \
		apt-get -o DPkg::Lock::Timeout=600 --quiet --yes install --no-install-recommends "$${missing[@]}"; \
fi
endef
