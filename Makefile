# What CI runs, a person runs: these targets and nothing else.
#
# Everything for the host is built with --workspace, so that dependencies have
# the same features everywhere and none is built twice.

CARGO ?= cargo
WASM_TARGET := wasm32-wasip2
TARGET_DIR := $(abspath $(or $(CARGO_TARGET_DIR),target))
OUTRIGGER := $(TARGET_DIR)/debug/outrigger
EXAMPLES := $(patsubst %/Makefile,%,$(wildcard examples/*/Makefile))
GUESTS := $(patsubst tests/guests/%/Cargo.toml,guest-%,$(wildcard tests/guests/*/Cargo.toml))

.DEFAULT_GOAL := help
.PHONY: help demo test faults hostile reload simulate check bench build examples guests deny clean need-build need-guests need-tests

help: ## Show this list
	@echo "make TARGET, where TARGET is one of"
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  \1|\2/p' $(MAKEFILE_LIST) | awk -F'|' '{ printf "%-12s%s\n", $$1, $$2 }'

demo: build examples ## Watch events flow through sandboxed handlers; needs no Kafka
	$(OUTRIGGER) dev examples/orders/outrigger.yaml --events examples/orders/events.jsonl --until-idle

# Cargo builds the command too, with the tests of its package.
test: need-tests guests examples ## Run all tests: on real Apache Kafka too, with the short faults and hostile handlers
	OUTRIGGER_BIN=$(OUTRIGGER) $(CARGO) test --workspace

faults: need-tests build guests ## Do harm on real Kafka for 45 minutes, print a table; ONLY=kill: one row; JOBS=1: one at a time
	OUTRIGGER_BIN=$(OUTRIGGER) $(CARGO) test --workspace --test faults -- --full --jobs $(or $(JOBS),2) $(ONLY:%=--only %)

hostile: need-tests build guests ## Run hostile handlers beside a neighbour on real Kafka, print a table; ONLY=loop: one
	OUTRIGGER_BIN=$(OUTRIGGER) $(CARGO) test --workspace --test hostile -- --full $(ONLY:%=--only %)

reload: need-tests build guests ## Reload under load on real Kafka for some minutes, print the figures; ONLY=broken: one part
	OUTRIGGER_BIN=$(OUTRIGGER) $(CARGO) test --workspace --test reload -- --full $(ONLY:%=--only %)

simulate: need-build ## Simulate a worker with SEEDS different histories (default 1000000)
	OUTRIGGER_SEEDS=$(or $(SEEDS),1000000) $(CARGO) test --workspace --lib -- --nocapture worker::core::tests::simulation

check: need-build deny ## Check format, lints, documentation, licences
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --workspace --no-deps
	$(CARGO) test --workspace --test licences

bench: need-tests examples ## Measure against a bare consumer loop, side by side
	$(CARGO) run --release --package outrigger-bench

build: need-build ## Build the outrigger command
	$(CARGO) build --workspace --bin outrigger

examples: need-guests ## Build the handlers of the examples
	@set -e; for example in $(EXAMPLES); do $(MAKE) --no-print-directory -C $$example; done

guests: need-guests ## Build the handlers that the tests use
	$(CARGO) build --profile guest --target $(WASM_TARGET) $(GUESTS:%=--package %)

# Beyond what the licence test looks at: advisories and sources, where the tool is installed.
deny:
	@if command -v cargo-deny >/dev/null 2>&1; then $(CARGO) deny --all-features check bans licenses sources; \
	else echo "cargo-deny is not installed: sources are not checked (cargo install cargo-deny)"; fi

clean: ## Remove everything that was built
	$(CARGO) clean
	@set -e; for example in $(EXAMPLES); do $(MAKE) --no-print-directory -C $$example clean; done

need-build:
	@scripts/need.sh build

need-guests:
	@scripts/need.sh guests

need-tests:
	@scripts/need.sh build tests
