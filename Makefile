# What there is to do here. `make` alone lists it.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

# Development tools are pinned here and run from the module cache, so that go.mod holds the product's own
# needs only.
GOLANGCI_LINT := github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0

# The race detector needs a C compiler; without one, go itself says CGO_ENABLED=0. It does not watch SQLite itself, C made
# into Go, which took half of the time of the tests that use it: it starts no goroutines, and its locks are, on Linux,
# those of libc, which is watched.
RACE ?= $(if $(filter 1,$(shell go env CGO_ENABLED)),-race -gcflags=modernc.org/sqlite/lib=-race=false)
# How long the detector waits for others at the end of a process, instead of a second.
export GORACE ?= atexit_sleep_ms=100
# Verify vets everything, by all of vet's rules: some of them once more before each package's tests cost up to a minute.
GOTEST := go test -vet=off
PACKAGES ?= ./...
# Tests of processes, which are measured: how soon they take over, how much memory they take. They run as users have them,
# since under the race detector they take ten times as long and much more, and their limits would have to be as loose.
# WHOLE_RACE=1 has them under it all the same, as make soak does. One package runs after the other: a disk that another one
# keeps busy is not what is measured.
WHOLE := /deploy/(endtoend|faults)$$
WHOLE_RACE ?=
FUZZTIME ?= 30s
DURATION ?= 1h
ARGS ?=
MESSAGES ?= 1000000

.PHONY: help run run-distributed build test soak fuzz-services bench bench-browser lint verify fuzz cover generate screenshots

help: ## List the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1\t\2/' | expand -t 24

run: ## Serve on 127.0.0.1:8080 with everything embedded; ARGS="--data-dir /somewhere"
	go run ./cmd/doorman serve $(ARGS)

run-distributed: build ## Serve as a gateway and two workers, over Postgres and RabbitMQ, on 127.0.0.1:8080
	@deploy/run-distributed.sh $(ARGS)

build: ## Build bin/doorman
	CGO_ENABLED=0 go build -trimpath -o bin/doorman ./cmd/doorman

test: ## All tests, with the services they need, all but those of processes under the race detector; PACKAGES=./bus/...
	@services="$$(deploy/services.sh)"; eval "$$services"; packages="$$(go list $(PACKAGES))"; failed=0; \
	[ -n "$$packages" ] || { echo "there are no packages $(PACKAGES)" >&2; exit 1; }; set -x; \
	{ grep -vE '$(WHOLE)' <<< "$$packages" || true; } | xargs -r $(GOTEST) $(RACE) -timeout 15m || failed=1; \
	{ grep -E '$(WHOLE)' <<< "$$packages" || true; } | xargs -r $(GOTEST) -p 1 $(if $(filter 1,$(WHOLE_RACE)),$(RACE) -timeout 30m,-timeout 15m) || failed=1; \
	exit $$failed

soak: ## Break everything for DURATION (1h) and audit; SEED= and FROM= replay, FAULT= chooses
	@services="$$(deploy/services.sh postgres rabbitmq)"; eval "$$services"; set -x; \
	go test $(RACE) ./deploy/faults -run 'TestFaults$$' -count 1 -v -timeout 0 -args -faults.for $(DURATION) \
	  $(if $(SEED),-faults.seed $(SEED)) $(if $(FROM),-faults.from $(FROM)) $(if $(FAULT),-faults.only $(FAULT))

cover: ## Tests with coverage of every package by every test, in .cache/coverage.html
	@mkdir -p .cache; services="$$(deploy/services.sh)"; eval "$$services"; \
	go test -coverpkg=./... -coverprofile=.cache/coverage.out $(PACKAGES)
	@go tool cover -html=.cache/coverage.out -o .cache/coverage.html
	@go tool cover -func=.cache/coverage.out | tail -1

fuzz: ## Each fuzz test for FUZZTIME (30s)
	@git grep -lE '^func Fuzz' -- '*_test.go' | xargs -r -n1 dirname | sort -u | while read -r dir; do \
	  grep -hoE '^func Fuzz[A-Za-z0-9_]*' "$$dir"/*_test.go | cut -d' ' -f2 | while read -r name; do \
	    (set -x; go test "./$$dir" -run '^$$' -fuzz "^$$name\$$" -fuzztime $(FUZZTIME)); \
	  done; \
	done

fuzz-services: ## MESSAGES (1,000,000) made up for RabbitMQ and HTTP: each is answered, memory is back; SEED= replays
	@services="$$(deploy/services.sh postgres rabbitmq)"; eval "$$services"; set -x; \
	$(if $(SEED),DOORMAN_TEST_SEED=$(SEED)) go test ./deploy/endtoend -run 'TestMadeUpMessagesAndRequestsAreAllAnswered$$' \
	  -count 1 -v -timeout 0 -args -services.messages $(MESSAGES)

bench: build ## The table of speeds in README.md, measured here (about 5 minutes)
	@services="$$(deploy/services.sh postgres rabbitmq)"; eval "$$services"; \
	DOORMAN_POSTGRES_URL="$${DOORMAN_POSTGRES_URL:-$$DOORMAN_TEST_POSTGRES_URL}" \
	DOORMAN_RABBITMQ_URL="$${DOORMAN_RABBITMQ_URL:-$$DOORMAN_TEST_RABBITMQ_URL}" bin/doorman bench --table $(ARGS)

bench-browser: ## The browser client's figures in notify/client/README.md, measured here in Chromium
	@services="$$(deploy/services.sh chromium node)"; eval "$$services"; set -x; \
	DOORMAN_FIGURES=browser go test ./deploy/endtoend -run 'TestTheBrowserClientUnderLoad$$' -count 1 -v

lint: ## Every linter there is (.golangci.yml has the exceptions and their reasons)
	go run $(GOLANGCI_LINT) run $(PACKAGES)

screenshots: ## The order desk's pictures in README.md
	@services="$$(deploy/services.sh chromium node)"; eval "$$services"; set -x; \
	DOORMAN_SCREENSHOTS=1 go test ./cmd/demo -run TestScreenshots -count 1

generate: ## Make generated files anew
	@deploy/services.sh node
	go generate ./...
	go test ./deploy -run TestLinterEnforcesTheSameTable -count 1 -update
	go test ./deploy/openapi ./deploy/asyncapi -run TestGoldenDocument -count 1 -update

verify: ## Formatting, vet, generated files as committed, modules as published
	@unformatted="$$(git ls-files '*.go' | xargs gofmt -l)"; \
	if [ -n "$$unformatted" ]; then echo "not formatted by gofmt:"; echo "$$unformatted"; exit 1; fi
	go vet ./...
	go mod verify
	@before="$$(git status --porcelain; git diff | sha256sum)"; $(MAKE) --no-print-directory generate; \
	after="$$(git status --porcelain; git diff | sha256sum)"; \
	if [ "$$before" != "$$after" ]; then echo "generated files differ from what is committed:"; git status --short; exit 1; fi
