# What a person does with this repository. `make` alone says what there is.

BIN     := bin

# The pinned tools: what tools/go.mod names, under the names we use.
TOOLS           := pulumi etcd etcdctl etcdutl ignition-validate staticcheck
pulumi_pkg      := github.com/pulumi/pulumi/pkg/v3/cmd/pulumi
etcd_pkg        := go.etcd.io/etcd/server/v3
etcdctl_pkg     := go.etcd.io/etcd/etcdctl/v3
etcdutl_pkg     := go.etcd.io/etcd/etcdutl/v3
ignition-validate_pkg := github.com/coreos/ignition/v2/validate
staticcheck_pkg := honnef.co/go/tools/cmd/staticcheck

export CGO_ENABLED := 0

.DEFAULT_GOAL := help
.PHONY: help build devctl plugin tools up test lint bench docs clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

build: devctl tools ## Build devctl, its daemons and the pinned tools into bin/

# Go itself knows whether anything has changed; without a change this takes a second. No commit is stamped into them:
# devctld is part of what a machine is made from, and a commit to the docs must not replace machines. Without gRPC's trace
# pages the daemon is smaller.
devctl:
	@go build -trimpath -buildvcs=false -ldflags '-s -w' -o $(BIN)/ ./cmd/devctl
	@go build -trimpath -buildvcs=false -ldflags '-s -w' -tags grpcnotrace -o $(BIN)/ ./cmd/devctld
	@go build -trimpath -buildvcs=false -ldflags '-s -w' -o $(BIN)/ ./cmd/devctl-supervisor

plugin: ## Build devctl's provider for those who run Pulumi themselves
	@go build -trimpath -buildvcs=false -ldflags '-s -w' -o $(BIN)/ ./cmd/pulumi-resource-devctl

tools: $(TOOLS:%=$(BIN)/%)

# The Automation API refuses a pulumi that does not know its version. Of the rest only the size changes.
$(TOOLS:%=$(BIN)/%): $(BIN)/%: tools/go.mod tools/go.sum
	@echo "building $@ from $($*_pkg)"
	@cd tools && go build -trimpath -o ../$@ -ldflags "-s -w $(if $(filter pulumi,$*),\
	  -X github.com/pulumi/pulumi/sdk/v3/go/common/version.Version=$$(go list -m -f '{{.Version}}' github.com/pulumi/pulumi/pkg/v3 | sed s/^v//))" $($*_pkg)
	@touch $@

up: ## Install what is missing, build, and bring the local stack up
	@scripts/prerequisites up
	@$(MAKE) --no-print-directory build
	@$(BIN)/devctl up --yes

test: ## Install what the tests need, lint, and run every test
	@scripts/prerequisites test
	@$(MAKE) --no-print-directory build lint
	go test -p 2 -timeout 15m $$(go list ./... | grep -v /test/e2e)
	@# Its tests that hold bounds in seconds run alone, then the others two at a time: one of them lasts ten minutes by itself.
	go test -count 1 -parallel 2 -timeout 35m ./test/e2e/...

lint: $(BIN)/staticcheck ## Check format, vet, staticcheck and go.mod
	@unformatted=$$(gofmt -l $$(git ls-files --cached --others --exclude-standard '*.go')); \
	  if [ -n "$$unformatted" ]; then echo "not formatted, run gofmt -w on:" $$unformatted; exit 1; fi
	go vet ./...
	$(BIN)/staticcheck ./...
	go mod tidy -diff
	cd tools && go mod tidy -diff

bench: ## Measure what devctl promises, and write docs/benchmarks.md
	@scripts/prerequisites test
	@$(MAKE) --no-print-directory build
	go run ./test/bench -o docs/benchmarks.md

docs: devctl ## Make the reference of the commands, docs/cli.md
	$(BIN)/devctl docs > docs/cli.md

clean: ## Remove what was built; stacks and their state stay
	rm -rf $(BIN)
