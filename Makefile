# make            build/sluice; fetches and builds what it needs first (asks apt when root)
# make demo       pull a real image through Sluice on this machine, twice   make run   the mirror
# make test       all tests; the last line is 'N passed, N failed'
# make check      tidy, layout and unit tests (seconds; before every commit)
# make fuzz       build the fuzzers (clang)             make fuzz-smoke   each for some seconds
# make bench      beside nginx, h2o, Varnish, docker-registry, in one run; BENCH_ARGS="--only blob"
# make bench-bbr  a download before and after sluice-tune, by loss (minutes)
# make bench-loss parallel ranges and BBR on a line with loss, in a kernel of its own (minutes)
# make test-ktls  pulls by kernel TLS in Debian's kernels of today and later (minutes)
# make analyze    clang-tidy and gcc -fanalyzer         make cdb          compile_commands.json
# make format     clang-format over src and tests       make format-check
# make install    DESTDIR= PREFIX=/usr/local            make uninstall
# make deb        a package, build/deb/*.deb            make test-deb     it, on Debian 12 and 13, as root
# make clean      all but what was fetched              make distclean
# make deps       all packages for building and testing make test-debian13   in a chroot, as root
#
# V=1 shows the commands.  MODE=debug: -O0 -g3, slow checks on.  SAN=address,undefined or SAN=thread:
# sanitizers.  Each has its own folder, build/MODE-SAN/.  CC=clang, CFLAGS= and LDFLAGS= as usual;
# WERROR=1 for CI; NO_APT=1 leaves packages alone; WOLFSSL_SRC=dir takes another wolfSSL tree.

MODE    ?= release
CC      ?= cc
PREFIX  ?= /usr/local
PYTHON  ?= /usr/bin/python3
JOBS    ?= $(shell nproc)
comma   := ,
BUILD   := build/$(MODE)$(if $(SAN),-$(subst $(comma),-,$(SAN)))
WOLFSSL := build/deps/wolfssl
VERSION := $(shell git describe --dirty --always 2>/dev/null || echo unknown)
MACHINE := $(shell uname -m)

# Packages, by who needs them.  "a|b": the first that the release has.
BUILD_PKGS := build-essential pkg-config liburing-dev libinih-dev libc-ares-dev libcjson-dev \
              libnghttp2-dev libcrypt-dev $(if $(filter x86_64,$(MACHINE)),libipsec-mb-dev) \
              autoconf automake libtool dpkg-dev debian-archive-keyring ca-certificates \
              xz-utils util-linux
CHECK_PKGS := python3 git
# A package of its own from Debian 13 on.
DOCKER_CLI := $(shell . /etc/os-release; [ "$${VERSION_ID:-0}" -ge 13 ] 2>/dev/null && echo docker-cli)
TEST_PKGS  := $(CHECK_PKGS) clang-format python3-pytest python3-pytest-xdist curl openssl \
              docker-registry skopeo podman containerd docker.io $(DOCKER_CLI) zstd python3-h2 \
              nghttp2-client chromium chromium-driver prometheus python3-yaml systemd logrotate \
              adduser iproute2 haproxy
DEMO_PKGS  := python3 curl openssl docker-registry skopeo busybox-static
RUN_PKGS   := openssl ca-certificates
FUZZ_PKGS  := clang libclang-rt-14-dev|libclang-rt-19-dev
# Kernels to boot for tests on networks with loss: see tests/kernel/run.
KERNEL_PKGS := $(if $(filter x86_64,$(MACHINE)),user-mode-linux) iproute2 busybox-static curl python3
BENCH_PKGS := python3 openssl libssl-dev nginx h2o varnish hitch haproxy docker-registry skopeo wrk \
              nghttp2-client containerd docker.io $(DOCKER_CLI)
LINT_PKGS  := clang-tidy clang-format

# The user's CFLAGS come last and win; what the code needs to compile does not live in CFLAGS.
WARN := -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wpointer-arith \
        -Wwrite-strings -Wvla -Wformat=2 -Wundef -Wcast-qual $(if $(WERROR),-Werror)
OPT_release := -O2 -g $(if $(SAN),,-U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2 -fstack-protector-strong)
OPT_debug   := -O0 -g3 -DSLOW_CHECKS=1
OPT_fuzz    := -O1 -g -DSLOW_CHECKS=1 -fsanitize=fuzzer-no-link,address,undefined
SANFLAGS    := $(if $(SAN),-fsanitize=$(SAN) -fno-sanitize-recover=all -fno-omit-frame-pointer)
COMPILE = $(CC) -std=gnu17 -Isrc -isystem $(WOLFSSL)/include -D_GNU_SOURCE -pthread -MMD -MP \
          $(WARN) $(OPT_$(MODE)) $(SANFLAGS) $(CPPFLAGS) $(CFLAGS)
LINK    = $(CC) -pthread -Wl,--as-needed $(if $(SAN)$(filter fuzz,$(MODE)),,-Wl,-z,relro,-z,now) \
          $(SANFLAGS) $(LDFLAGS)
# A sanitizer's runtime has a crypt_r of its own, which calls libcrypt's: it must not be left out.
LDLIBS := -L$(WOLFSSL)/lib -lwolfssl -luring -linih -lcares -lcjson -lnghttp2 \
          $(if $(SAN),-Wl$(comma)--no-as-needed) -lcrypt \
          $(if $(filter x86_64,$(MACHINE)),-lIPSec_MB) -lm

SRC  := $(sort $(wildcard src/*.c src/*/*.c))
OBJ  := $(SRC:%.c=$(BUILD)/%.o)
LIB  := $(BUILD)/libsluice.a
UNIT := $(patsubst %.c,$(BUILD)/%,$(sort $(wildcard tests/unit/*_test.c)))
SIM  := $(BUILD)/tests/sim/scenario_test
FUZZ := $(patsubst %.c,$(BUILD)/%,$(sort $(wildcard tests/fuzz/fuzz_*.c)))
TEXT := $(sort $(wildcard src/*.[ch] src/*/*.[ch] tests/*/*.[ch]))

Q   = $(if $(V),,@)
say = $(if $(V),,@printf '  %-7s %s\n' $(1) $@;)
apt = $(Q)src/deps/apt.sh

# JOBS=1 for one at a time; a make below another takes its jobs from that one.
ifeq ($(MAKELEVEL),0)
MAKEFLAGS += -j$(JOBS)
endif

MAINS := src/main.c src/tune/tune.c
PROGRAMS := sluice sluice-tune

all: $(PROGRAMS:%=$(if $(filter release,$(BUILD:build/%=%)),build/%,$(BUILD)/%))

$(PROGRAMS:%=build/%): build/%: build/release/%
	$(Q)ln -f $< $@

$(BUILD)/sluice: $(BUILD)/src/main.o $(LIB)
$(BUILD)/sluice-tune: $(BUILD)/src/tune/tune.o $(LIB)
$(PROGRAMS:%=$(BUILD)/%):
	$(call say,LD)$(LINK) -o $@ $^ $(LDLIBS)

# An archive: a unit test that includes a .c to reach its statics does not get the object as well.
$(LIB): $(filter-out $(MAINS:%.c=$(BUILD)/%.o),$(OBJ)) $(BUILD)/sources
	$(call say,AR)rm -f $@ && $(AR) crs $@ $(filter %.o,$^)

$(BUILD)/%.o: %.c $(BUILD)/flags $(WOLFSSL)/stamp | apt-build
	$(call say,CC)mkdir -p $(@D) && $(COMPILE) -c -o $@ $<

$(UNIT): $(BUILD)/%: $(BUILD)/%.o $(LIB)
	$(call say,LD)$(LINK) -o $@ $^ $(LDLIBS)

# The simulated ring and helpers come first, so that the archive's are not taken.
SIM_OBJ  := $(patsubst %.c,$(BUILD)/%.o,$(sort $(wildcard tests/sim/*.c)))
SIM_WRAP := clock_gettime fsync fdatasync openat renameat unlinkat mkdirat preadv2 malloc calloc realloc \
            aligned_alloc
$(SIM): $(SIM_OBJ) $(LIB)
	$(call say,LD)$(LINK) $(SIM_WRAP:%=-Wl,--wrap=%) -o $@ $^ $(LDLIBS)

# What is not C, and taken in by the assembler.
$(BUILD)/src/proxy/page.o: src/proxy/page.html

# base/version.c alone sees VERSION, so a new commit recompiles one file, not all.
$(BUILD)/src/base/version.o: private CPPFLAGS += -DVERSION='"$(VERSION)"'
$(BUILD)/src/base/version.o: $(BUILD)/version

# Stamps: rewritten only when their text changes, so changed flags rebuild and unchanged ones do not.
$(BUILD)/flags: STAMP = $(COMPILE) $(LINK)
$(BUILD)/version: STAMP = $(VERSION)
$(BUILD)/sources: STAMP = $(SRC)
build/deps/wolfssl-src: STAMP = $(WOLFSSL_SRC) $(WOLFSSL_SUITES)
$(BUILD)/flags $(BUILD)/version $(BUILD)/sources build/deps/wolfssl-src: FORCE
	$(Q)mkdir -p $(@D); printf '%s\n' '$(subst ','\'',$(STAMP))' | cmp -s - $@ || \
	printf '%s\n' '$(subst ','\'',$(STAMP))' > $@

$(WOLFSSL)/stamp: src/deps/wolfssl.sh build/deps/wolfssl-src | apt-build
	$(Q)WOLFSSL_SRC='$(WOLFSSL_SRC)' WOLFSSL_SUITES='$(WOLFSSL_SUITES)' JOBS=$(JOBS) \
	src/deps/wolfssl.sh $(WOLFSSL)

# Packages.  One after the other: apt takes one at a time.
apt-build:
	$(apt) $(BUILD_PKGS)
apt-check: | apt-build
	$(apt) $(CHECK_PKGS)
apt-test: | apt-build
	$(apt) --quiet-services $(foreach p,$(TEST_PKGS) $(KERNEL_PKGS),'$(p)')
apt-demo: | apt-build
	$(apt) --quiet-services $(foreach p,$(DEMO_PKGS),'$(p)')
apt-run: | apt-build
	$(apt) $(RUN_PKGS)
apt-fuzz: | apt-build
	$(apt) $(foreach p,$(FUZZ_PKGS),'$(p)')
apt-kernel: | apt-build
	$(apt) $(KERNEL_PKGS)
apt-ktls: apt-kernel
	$(apt) qemu-system-x86
apt-bench: | apt-build
	$(apt) --quiet-services $(foreach p,$(BENCH_PKGS),'$(p)')
apt-lint: | apt-build
	$(apt) $(LINT_PKGS)
deps: | apt-build
	$(apt) --quiet-services $(foreach p,$(TEST_PKGS) $(DEMO_PKGS) $(RUN_PKGS) $(FUZZ_PKGS) \
	$(LINT_PKGS) $(KERNEL_PKGS) $(BENCH_PKGS),'$(p)')

RUN_TESTS = BUILD=$(BUILD) SAN=$(SAN) SLUICE=$(CURDIR)/$(BUILD)/sluice $(PYTHON) tests/run

check: $(UNIT) $(SIM) | apt-check
	$(Q)$(RUN_TESTS) tidy format unit

test: $(PROGRAMS:%=$(BUILD)/%) $(UNIT) $(SIM) all pages $(if $(SAN),,deb) | apt-test
	$(Q)$(RUN_TESTS) tidy format unit fuzz e2e

# One of these kernels is part of `make test`.
test-ktls: all $(BUILD)/tests/unit/net_ktls_test | apt-test apt-ktls
	$(Q)tests/kernel/fetch release bookworm-backports trixie-backports
	$(Q)SLUICE=$(CURDIR)/$(BUILD)/sluice tests/kernel/ktls.py --core

tidy: | apt-check
	$(Q)$(PYTHON) tests/tidy.py

format: | apt-lint
	$(Q)clang-format -i $(TEXT)

format-check: | apt-lint
	$(Q)clang-format --dry-run -Werror $(TEXT)

bench: all | apt-bench
	$(Q)SLUICE=$(CURDIR)/$(BUILD)/sluice bench/run $(BENCH_ARGS)

bench-loss: all | apt-kernel
	$(Q)SLUICE=$(CURDIR)/$(BUILD)/sluice bench/loss $(BENCH_ARGS)

bench-bbr: all | apt-kernel
	$(Q)SLUICE=$(CURDIR)/$(BUILD)/sluice bench/bbr $(BENCH_ARGS)

demo: all | apt-demo
	$(Q)tests/demo/demo.sh

run: all | apt-run
	$(Q)tests/demo/run.sh

# The fuzzers are built as a mode of their own, with everything that they call instrumented.
fuzz: | apt-fuzz
	$(Q)$(MAKE) --no-print-directory CC=clang MODE=fuzz SAN= fuzzers

fuzz-smoke: | apt-fuzz apt-check
	$(Q)$(RUN_TESTS) fuzz

fuzzers: $(FUZZ)

$(FUZZ): $(BUILD)/%: $(BUILD)/%.o $(LIB)
	$(call say,LD)$(LINK) -fsanitize=fuzzer,address,undefined -o $@ $^ $(LDLIBS)

# Without checks that are wrong of this code: C11's Annex K, va_list in clang 14, arguments of one type.
LINT := -*,clang-analyzer-*,bugprone-*,-clang-analyzer-valist.Uninitialized,$(strip \
        )-clang-analyzer-security.insecureAPI.DeprecatedOrUnsafeBufferHandling,$(strip \
        )-bugprone-easily-swappable-parameters,-bugprone-implicit-widening-of-multiplication-result
analyze: cdb | apt-lint
	$(Q)clang-tidy --quiet -p . --checks=$(LINT) $(SRC)
	$(Q)$(MAKE) --no-print-directory CC=gcc SAN= BUILD=build/analyze CFLAGS=-fanalyzer \
	build/analyze/libsluice.a $(MAINS:%.c=build/analyze/%.o)

cdb: compile_commands.json
compile_commands.json: Makefile $(SRC) $(BUILD)/flags
	$(Q){ sep='['; for f in $(SRC); do printf '%s\n{"directory":"%s","file":"%s","command":"%s -c %s"}' \
	"$$sep" '$(CURDIR)' "$$f" '$(subst ",\",$(COMPILE))' "$$f"; sep=,; done; printf '\n]\n'; } > $@

# What is made of the tables of keys and commands, and of templates.
PAGES := $(BUILD)/pages
SED_PATHS := sed -e 's,@SBIN@,$(PREFIX)/sbin,g' -e 's,@SHARE@,$(PREFIX)/share/sluice,g'
INSTALL := install -D -m 644
SHARE := $(DESTDIR)$(PREFIX)/share
LIBDIR := $(DESTDIR)$(PREFIX)/lib

pages: $(PAGES)/stamp
$(PAGES)/stamp: $(BUILD)/sluice conf/man/sluice.8
	$(call say,PAGES)mkdir -p $(PAGES) && $(BUILD)/sluice print man >$(PAGES)/sluice.ini.5 && \
	$(BUILD)/sluice print completion >$(PAGES)/sluice.bash && \
	$(BUILD)/sluice print commands >$(PAGES)/commands && \
	sed -e '/^@COMMANDS@$$/{r $(PAGES)/commands' -e 'd}' conf/man/sluice.8 >$(PAGES)/sluice.8 && touch $@

install: all pages
	+$(Q)$(MAKE) --no-print-directory install-files

# Of what is built already.
install-files:
	$(INSTALL) -m 755 $(BUILD)/sluice $(DESTDIR)$(PREFIX)/sbin/sluice
	$(INSTALL) -m 755 $(BUILD)/sluice-tune $(DESTDIR)$(PREFIX)/sbin/sluice-tune
	$(INSTALL) -m 755 conf/certificate $(SHARE)/sluice/certificate
	$(INSTALL) conf/sluice.ini $(SHARE)/sluice/sluice.ini
	$(INSTALL) $(PAGES)/sluice.ini.5 $(SHARE)/man/man5/sluice.ini.5
	$(INSTALL) conf/man/sluice-tune.8 $(SHARE)/man/man8/sluice-tune.8
	$(INSTALL) $(PAGES)/sluice.bash $(SHARE)/bash-completion/completions/sluice
	$(INSTALL) conf/bash/sluice-tune $(SHARE)/bash-completion/completions/sluice-tune
	$(SED_PATHS) $(PAGES)/sluice.8 | $(INSTALL) /dev/stdin $(SHARE)/man/man8/sluice.8
	for u in sluice sluice-tune; do $(SED_PATHS) conf/systemd/$$u.service | \
	$(INSTALL) /dev/stdin $(LIBDIR)/systemd/system/$$u.service || exit; done
	$(INSTALL) conf/systemd/sysusers.conf $(LIBDIR)/sysusers.d/sluice.conf
	$(INSTALL) conf/systemd/tmpfiles.conf $(LIBDIR)/tmpfiles.d/sluice.conf
	test -e $(DESTDIR)/etc/logrotate.d/sluice || \
	$(INSTALL) conf/logrotate $(DESTDIR)/etc/logrotate.d/sluice
	test -e $(DESTDIR)/etc/sluice/sluice.ini || \
	$(INSTALL) conf/sluice.ini $(DESTDIR)/etc/sluice/sluice.ini

# What was made by running stays: /etc/sluice, the cache, the user.
uninstall:
	rm -f $(DESTDIR)$(PREFIX)/sbin/sluice $(DESTDIR)$(PREFIX)/sbin/sluice-tune \
	$(SHARE)/man/man5/sluice.ini.5 $(SHARE)/man/man8/sluice.8 $(SHARE)/man/man8/sluice-tune.8 \
	$(SHARE)/bash-completion/completions/sluice $(SHARE)/bash-completion/completions/sluice-tune \
	$(LIBDIR)/systemd/system/sluice.service $(LIBDIR)/systemd/system/sluice-tune.service \
	$(LIBDIR)/sysusers.d/sluice.conf $(LIBDIR)/tmpfiles.d/sluice.conf \
	$(DESTDIR)/etc/logrotate.d/sluice
	rm -rf $(SHARE)/sluice

# build/deb/*.deb, for the release that it is made on.
deb: all pages
	+$(Q)conf/debian/build.sh $(BUILD) $(VERSION)

test-deb:
	$(Q)tests/deb.sh

test-debian13:
	$(Q)tests/debian13.sh

clean:
	$(Q)find build -mindepth 1 -maxdepth 1 ! -name deps -exec rm -rf {} + 2>/dev/null; \
	rm -f compile_commands.json

distclean:
	$(Q)rm -rf build compile_commands.json

help:
	@sed -n '/^#/!q;s/^# \{0,1\}//p' Makefile

FORCE:
.PHONY: bench apt-bench all check test tidy format format-check demo run fuzz fuzz-smoke fuzzers analyze cdb install \
        install-files uninstall pages deb test-deb \
        test-debian13 test-ktls clean distclean help deps apt-build apt-check apt-test apt-demo apt-run \
        apt-fuzz apt-kernel apt-ktls apt-lint bench-loss bench-bbr FORCE
.SECONDARY:

-include $(OBJ:.o=.d) $(UNIT:=.d) $(SIM_OBJ:.o=.d) $(FUZZ:=.d)
