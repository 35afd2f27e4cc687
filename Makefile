# What can be made: `make help`.

# Go is looked for when a target first needs it; go.sh says what is missing.
GO = $(eval GO := $(shell build/host/go.sh))$(or $(GO),$(error cannot go on without Go))
WITHGO = PATH="$(dir $(GO)):$$PATH"

export GOTOOLCHAIN = local
export CGO_ENABLED = 0

# The version is stamped from git; VERSION=20.1.0 overrides it.
export VERSION
STAMP = $(eval STAMP := $$(shell build/host/version.sh || echo invalid))$(if $(filter invalid,$(STAMP)),$(error VERSION is not a version))$(STAMP)

# The same commit gives the same bytes. -R: padding of the file to the page size of the boards
# (4 KiB on 32-bit ARM; 16 KiB on arm64, where some kernels have pages of that size).
FLAGS = -trimpath -buildvcs=false
LDFLAGS = -s -w -buildid= -X resin-supervisor/build/version.stamp=$(STAMP)
# Neither our code nor the libraries' is so hot that inlining it shows, and without it a program is 2.5 %
# smaller. The runtime and Go's own packages must keep theirs.
GCFLAGS = -gcflags 'resin-supervisor/...=-l' -gcflags 'github.com/...=-l'
# fasthttp without net/http: 0.25 MB less to carry, to map and to set up at a start.
MOD = $(eval MOD := -modfile=$$(shell build/fasthttp/patch.sh $$(GO) dist/fasthttp))$(if $(filter %.mod,$(MOD)),$(MOD),$(error cannot go on without a patched fasthttp))
program = $(GO) build $(MOD) $(FLAGS) $(GCFLAGS) -ldflags "$(LDFLAGS) $(2)" -o dist/resin-supervisor$(1) .

ARM = armv6 armv7 arm64
ARCHS = amd64 $(ARM)

build: ## dist/resin-supervisor for this machine
	$(call program)

arm: $(ARM:%=linux-%) ## dist/resin-supervisor-linux-armv6, -armv7 and -arm64

linux-amd64:
	GOOS=linux GOARCH=amd64 $(call program,-$@)
linux-armv6:
	GOOS=linux GOARCH=arm GOARM=6 $(call program,-$@,-R 4096)
linux-armv7:
	GOOS=linux GOARCH=arm GOARM=7 $(call program,-$@,-R 4096)
linux-arm64:
	GOOS=linux GOARCH=arm64 $(call program,-$@,-R 16384)

run: build ## run it here with a demo app on it (root; Debian); Ctrl-C removes all it started
	@build/host/need.sh setpriv
	@setpriv --pdeathsig TERM build/host/run.sh

unit: ## the tests that need no root and nothing installed
	$(GO) test $(MOD) ./...

# Each package of the black-box tests runs in a network and mount namespace of its own, BEDS at a time.
BEDS = 2
BED = -exec "$(CURDIR)/build/host/bed.sh" -p $(BEDS) -count=1
# PACKAGES and RUN choose some of them, and leave the unit tests out.
PACKAGES =
RUN =
PROGRAMS = RESIN_SUPERVISOR_BIN="$(CURDIR)/dist/resin-supervisor" \
	RESIN_SUPERVISOR_BIN_ARMV6="$(CURDIR)/dist/resin-supervisor-linux-armv6" \
	RESIN_SUPERVISOR_BIN_ARM64="$(CURDIR)/dist/resin-supervisor-linux-arm64"
# The image of a release for this machine, for the tests that start it as a host does.
IMAGE = dist/resin-supervisor-image-linux-amd64.tar
IMAGED = RESIN_SUPERVISOR_IMAGE="$(CURDIR)/$(IMAGE)"

test: need-test build arm image ## all tests, also those with a real engine (root; Debian); one: PACKAGES=./lock RUN=TestX
	$(if $(PACKAGES)$(RUN),,$(GO) test $(MOD) ./...)
	cd test && $(GO) mod download
	cd test && $(WITHGO) $(PROGRAMS) $(IMAGED) $(GO) test $(BED) -parallel 8 -timeout 40m -run '$(RUN)' $(or $(PACKAGES),./...)
	cd test && for release in $(if $(filter ./... ./api,$(or $(PACKAGES),./...)),$(LAUNCHES)); do \
		$(WITHGO) $(PROGRAMS) $(IMAGED) RESIN_SUPERVISOR_LAUNCH=$$release $(GO) test $(BED) -timeout 40m -run '$(RUN)' ./api || exit 1; \
	done

# The tests of the API run once more on the image, under the start scripts of these releases of balenaOS.
LAUNCHES = 8.0.2 6.12.1

race-unit: ## the unit tests under the race detector
	@build/host/need.sh gcc
	CGO_ENABLED=1 $(GO) test $(MOD) -race ./...

# Black-box tests with much concurrency in the product. The harness fails the test whose product reports a data race.
# Left out is what measures memory: the race detector needs a multiple of it.
RACE_PACKAGES = ./action ./logs ./report
RACE_SKIP = TestListenersLeave
race: need-test ## the same, and some tests with a real engine; PACKAGES and RUN choose others (root; Debian)
	$(if $(PACKAGES)$(RUN),,$(MAKE) race-unit)
	@build/host/need.sh gcc
	CGO_ENABLED=1 $(GO) build $(MOD) $(FLAGS) -race -ldflags "$(LDFLAGS)" -o dist/resin-supervisor-race .
	cd test && $(GO) mod download
	cd test && $(WITHGO) RESIN_SUPERVISOR_BIN="$(CURDIR)/dist/resin-supervisor-race" \
		$(GO) test $(BED) -parallel 8 -timeout 40m -run '$(RUN)' -skip '$(RACE_SKIP)' $(or $(PACKAGES),$(RACE_PACKAGES))

image: build linux-amd64
	build/host/image.sh $(GO) amd64 $(IMAGE)

need-test:
	@build/host/need.sh dockerd containerd runc iptables docker-registry busybox qemu-arm-static qemu-aarch64-static \
		redsocks microsocks tinyproxy dbus-daemon curl jq ip unshare nsenter setpriv pgrep mkfs.ext4 journalctl xz ca-certificates

BOARDS = dist/board
test-board: linux-armv6 linux-armv7 ## the programs on emulated ARM boards whose power is cut (Debian; 2 kernels of it are fetched)
	@build/host/need.sh qemu-system-arm mkfs.vfat mcopy
	test/board/fetch.sh armel $(BOARDS)
	test/board/fetch.sh armhf $(BOARDS)
	cd test && $(GO) mod download
	cd test && $(WITHGO) RESIN_BOARD_DIR="$(CURDIR)/$(BOARDS)" RESIN_SUPERVISOR_BIN_ARMV7="$(CURDIR)/dist/resin-supervisor-linux-armv7" \
		$(PROGRAMS) $(GO) test -count=1 -v -timeout 40m ./board

BROWSER = /usr/bin/chromium-headless-shell
test-browser: need-test build ## what pages of strangers can do from a real Chromium (root; Debian; fetches 60 MB of it)
	@build/host/need.sh chromium-headless-shell
	cd test && $(GO) mod download
	cd test && $(WITHGO) RESIN_BROWSER="$(BROWSER)" $(PROGRAMS) $(GO) test $(BED) -v -timeout 40m ./browser

check: linux-armv6 ## formatting, vet, who may import whom, banned imports, sizes
	@build/host/need.sh xz
	@cd test && $(GO) mod download
	@$(WITHGO) PRODUCT_GOFLAGS=$(MOD) $(GO) run ./build/check

map: ## rewrite the map of rooms in docs/ARCHITECTURE.md
	@$(WITHGO) PRODUCT_GOFLAGS=$(MOD) $(GO) run ./build/check -map

imports: ## rewrite build/imports-armv6.txt, the list of what is linked in
	@$(WITHGO) PRODUCT_GOFLAGS=$(MOD) $(GO) run ./build/check -imports

size: ## what each room and package costs in the ARMv6 program
	@$(WITHGO) PRODUCT_GOFLAGS=$(MOD) $(GO) run ./build/check -size

WINDOW = 60s
bench: need-test build ## budgets of start, memory, idling (for WINDOW=60s), reading, planning and applying, measured (root; Debian)
	$(GO) test $(MOD) -run '^$$' -bench Growth ./update/plan
	cd test && $(GO) mod download
	cd test && $(WITHGO) $(PROGRAMS) $(GO) test $(BED) -timeout 40m -run '^$$' -bench . -benchtime 1x ./bench -args -window $(WINDOW)

FUZZTIME = 20s
fuzz: ## every fuzz target for FUZZTIME=20s
	@for package in $$($(GO) list ./...); do \
		for target in $$($(GO) test -list '^Fuzz' $$package | grep '^Fuzz'); do \
			echo "== $$package $$target"; \
			$(GO) test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) $$package || exit 1; \
		done; \
	done

fuzz-host: ## whatever is asked of the host, its files stay ones that the real redsocks takes, for FUZZTIME=20s (root; Debian)
	@build/host/need.sh redsocks ip unshare
	cd test && for target in FuzzHostConfig FuzzProxyFields; do \
		$(WITHGO) $(GO) test $(BED) -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 1x ./host || exit 1; \
	done

RELEASE = dist/release
release: build $(ARCHS:%=linux-%) ## dist/release: all architectures, image tarballs, checksums
	rm -rf $(RELEASE)
	mkdir -p $(RELEASE)
	for arch in $(ARCHS); do \
		cp dist/resin-supervisor-linux-$$arch $(RELEASE)/ && \
		build/host/image.sh $(GO) $$arch $(RELEASE)/resin-supervisor-image-linux-$$arch.tar && \
		gzip -9 --no-name $(RELEASE)/resin-supervisor-image-linux-$$arch.tar || exit 1; \
	done
	cp build/systemd/resin-supervisor.service LICENSE $(RELEASE)/
	cd $(RELEASE) && sha256sum * >SHA256SUMS && cat SHA256SUMS

clean: ## remove what was built
	rm -rf dist

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: build arm run unit test race race-unit need-test test-board test-browser check map imports size bench fuzz fuzz-host image release clean help $(ARCHS:%=linux-%)
