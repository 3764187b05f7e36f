# make build        bin/scriptproxy, static
# make demo         a Redis, the proxy in front of it, and commands to try
# make test         all tests under the race detector, against real Redis servers
# make bench        the benchmark against twemproxy, haproxy and bare Redis; BENCHFLAGS="-help" lists what can be chosen
# make bench-docs   the same, written to docs/benchmarks.md
# make bench-configs  scriptproxy with protection, with a policy, with fast pipelining and without metrics of scripts beside the plain one, written there too
# make bench-registry a fleet of five rolled back 1,000 times, and 10,000 scripts on 100 servers, written there too
# make bench-sizing what a proxy with 5,000 scripts and 1,000 sessions needs, written to docs/sizing.md
# make lint         gofmt, go vet, staticcheck, and who may import whom
# make fuzz         every fuzz target for FUZZTIME
# make differential COMMANDS random commands, with replies compared to a server's byte for byte; SEED and SEEDS choose which
# make docs-check   links and commands in the documents, and that those which are generated are current
# make test-compat  the tests of the whole program on Redis 6.0, Redis 8.0 and Valkey 8.1; COMPATFLAGS="-help" lists what can be chosen

GO          ?= go
# What the program calls itself; empty for what Go makes of the newest tag and the commit.
VERSION     ?=
FUZZTIME    ?= 10s
# A million commands take three minutes on two cores. Each seed runs in one configuration of the proxy, in turn.
COMMANDS    ?= 1000000
SEED        ?= 1
SEEDS       ?= 20
# Seconds for all fuzz targets together; empty for no limit.
FUZZBUDGET  ?=
BENCHFLAGS  ?=
TESTFLAGS   ?=
COMPATFLAGS ?=
# The race detector makes the tests about five times slower; one package needs a minute or two on two cores. They run one after
# the other, since each starts servers and clients of its own. Every program with the race detector sleeps a second before it ends
# unless GORACE says otherwise.
TESTTIMEOUT ?= 10m

STATICCHECK := honnef.co/go/tools/cmd/staticcheck@v0.8.2
DEPGUARD    := github.com/OpenPeeDeeP/depguard/v2/cmd/depguard@v2.3.0

# Go takes the commit from git, which refuses in a clone that another user owns.
BUILDVCS := $(shell git rev-parse HEAD >/dev/null 2>&1 && echo auto || echo false)
LDFLAGS  := -s -w $(if $(VERSION),-X github.com/scriptproxy/scriptproxy/cmd/scriptproxy/internal/cli.version=$(VERSION))
BUILD    := CGO_ENABLED=0 $(GO) build -trimpath -buildvcs=$(BUILDVCS) -ldflags '$(LDFLAGS)'

.DEFAULT_GOAL := build
.PHONY: build cross demo test test-compat bench bench-docs bench-configs bench-registry bench-sizing bench-smoke lint fuzz differential docs-check clean

build:
	$(BUILD) -o bin/scriptproxy ./cmd/scriptproxy

# Linux is what the program runs on. Elsewhere it has to build, and to say so when started.
cross:
	GOOS=linux GOARCH=amd64 $(BUILD) -o bin/scriptproxy-linux-amd64 ./cmd/scriptproxy
	GOOS=linux GOARCH=arm64 $(BUILD) -o bin/scriptproxy-linux-arm64 ./cmd/scriptproxy
	GOOS=darwin GOARCH=arm64 $(BUILD) -o bin/scriptproxy-darwin-arm64 ./cmd/scriptproxy

demo: build
	bin/scriptproxy demo

test:
	@.ci/packages gcc redis-server redis-cli redis-benchmark node npm python3-redis tmux promtool systemd-analyze dpkg-deb lintian unshare script
	GORACE="atexit_sleep_ms=20 $$GORACE" $(GO) test -race -p 1 -timeout $(TESTTIMEOUT) $(TESTFLAGS) ./...

test-compat:
	@.ci/packages redis-server redis-cli
	$(GO) run ./test/compat $(COMPATFLAGS)

bin/bench: FORCE
	$(GO) build -buildvcs=false -o bin/bench ./test/bench

bench: build bin/bench
	@.ci/packages redis-server redis-benchmark nutcracker haproxy
	bin/bench $(BENCHFLAGS)
	bin/bench -sizing -rounds 3 -seconds 1

bench-docs: build bin/bench
	@.ci/packages redis-server redis-benchmark nutcracker haproxy
	bin/bench $(BENCHFLAGS) -markdown docs/benchmarks.md

bench-configs: build bin/bench
	@.ci/packages redis-server redis-benchmark nutcracker
	bin/bench -configs plain,protected,policy,fast,uncounted -targets scriptproxy,twemproxy -only '50 clients' -rounds 11 $(BENCHFLAGS) -markdown docs/benchmarks.md -place configurations

bench-registry:
	@.ci/packages redis-server
	$(GO) test ./test/registry -count=1 -timeout 30m -run 'FleetSwitches|ManyScriptsOnManyServers' -repetitions 1000 -servers 100 -scripts 10000 \
	  -markdown $(CURDIR)/docs/benchmarks.md -scale-markdown $(CURDIR)/docs/benchmarks.md

bench-sizing: build bin/bench
	@.ci/packages redis-server redis-benchmark
	bin/bench -sizing -rounds 7 -seconds 2 -markdown docs/sizing.md

bench-smoke: build bin/bench
	@.ci/packages redis-server redis-benchmark nutcracker haproxy
	bin/bench -smoke
	bin/bench -smoke -sizing

lint:
	@unformatted=$$(gofmt -l .); if [ -n "$$unformatted" ]; then echo "gofmt -w is needed for:"; echo "$$unformatted"; exit 1; fi
	$(GO) vet ./...
	$(GO) run $(STATICCHECK) ./...
	$(GO) run $(DEPGUARD) ./...

fuzz:
	@.ci/packages redis-server
	.ci/fuzz $(FUZZTIME) $(FUZZBUDGET)

differential:
	@.ci/packages redis-server
	$(GO) test -count=1 -timeout 2h -run Random ./test/differential -seed=$(SEED) -seeds=$(SEEDS) -count-commands=$(COMMANDS)

docs-check:
	$(GO) test -count=1 -run Reference ./cmd/scriptproxy/internal/cli ./cmd/scriptproxy/internal/config ./metrics
	$(GO) test -count=1 ./test/docs

clean:
	rm -rf bin

FORCE:
.PHONY: FORCE
