# The only entry point. What a target needs and a fresh Debian with Rust, Python and Node lacks, it
# installs: into .tools, pinned, or from Debian's packages (a browser, proxies), as root.
.DEFAULT_GOAL := help
SHELL := /bin/bash
TARGET := $(or $(CARGO_TARGET_DIR),target)
RELEASE := $(TARGET)/release/headgate-gateway
# HEADGATE_GATEWAY names a binary to test, which is then not built.
GIVEN := $(HEADGATE_GATEWAY)
# NATS_SERVER names a server to use instead of the pinned one.
NATS := $(or $(NATS_SERVER),.tools/bin/nats-server)
PY := .tools/venv/bin/python
SECRETS := .run/secrets
npm-ci = cd $(1) && npm ci --silent --no-audit --no-fund && touch node_modules/.package-lock.json

help: ## Say what there is
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | sort | column -t -s $$'\t'

# --- what targets need ---

$(PY): tests/clients/requirements.txt
	python3 -m venv .tools/venv
	$(PY) -m pip install --quiet --disable-pip-version-check --requirement $<
	touch $@

tests/%/node_modules/.package-lock.json: tests/%/package-lock.json
	$(call npm-ci,tests/$*)

$(SECRETS):
	mkdir -p $(SECRETS)/chat-jwt $(SECRETS)/chat-api
	head -c 32 /dev/urandom > $(SECRETS)/chat-jwt/hmac
	head -c 24 /dev/urandom | od -An -tx1 | tr -d ' \n' > $(SECRETS)/chat-api/api-key

$(SECRETS)/chat-nats: | $(SECRETS)
	mkdir -p $@
	printf chat > $@/user
	(printf p; head -c 24 /dev/urandom | od -An -tx1 | tr -d ' \n') > $@/password

.tools/bin/%:
	tests/tools/install.sh $* .tools

# --- use it ---

run: $(SECRETS) ## Build the gateway and serve examples/gateway.yaml, with the console
	cargo build --release --locked -p headgate-gateway
	@echo
	@echo "Console     the address in the log line 'console' below: open it in a browser"
	@echo "WebSocket   ws://127.0.0.1:8080/ws"
	@echo "Internal    http://127.0.0.1:9090/status (also /metrics, /livez, /readyz, /api/v1/openapi.json)"
	@echo "Token       $(RELEASE) token --secret $(SECRETS)/chat-jwt/hmac --user alice --subscribe '**' --publish '**'"
	@echo "Publish     curl -H \"Authorization: Bearer \$$(cat $(SECRETS)/chat-api/api-key)\" -d '{\"channel\":\"public.hello\",\"data\":\"hi\"}' http://127.0.0.1:9090/api/v1/publish"
	@echo
	@exec $(RELEASE) serve examples/gateway.yaml --console --listen 127.0.0.1:8080 --internal-listen 127.0.0.1:9090 --secrets $(SECRETS)

nats: $(NATS) $(SECRETS)/chat-nats ## One NATS server with JetStream and the accounts of examples/nats-server.conf
	CHAT_PASSWORD=$$(cat $(SECRETS)/chat-nats/password) exec $(NATS) --config examples/nats-server.conf

run-nats: $(NATS) $(SECRETS)/chat-nats ## Build the gateway, serve examples/nats.yaml three times over one NATS, each with the console
	cargo build --release --locked -p headgate-gateway
	@exec examples/run-nats.sh $(NATS) $(RELEASE) $(SECRETS)

generate: ## Rewrite the CRD, docs/configuration.md and docs/events.md from the types
	UPDATE=1 cargo test -p headgate-crds --features kube --locked --test generated
	UPDATE=1 cargo test -p headgate-gateway --locked --test events

# --- test it ---

# One build serves the unit tests and the suites. Most of the suites' time is spent waiting for what
# the protocol promises, so they run beside each other.
test: $(NATS) ## Unit and property tests, then stock clients, a browser, proxies and the docs against the binary
	NATS_SERVER=$(abspath $(NATS)) cargo test --workspace --locked
	cargo test -p headgate-crds --features kube --locked
	cargo build --locked -p headgate-gateway
	$(MAKE) --no-print-directory -j3 -Otarget test-clients test-node test-console test-docs test-proxies

test-clients test-node test-console test-docs test-proxies test-broker: export HEADGATE_GATEWAY ?= $(abspath $(TARGET)/debug/headgate-gateway)
abuse scan: export HEADGATE_GATEWAY ?= $(abspath $(RELEASE))

test-clients: $(PY) ## Python clients: every refusal, code, limit and field of the manifest
	$(PY) -m pytest -q -n 10 --maxschedchunk 1 tests/clients

test-node: tests/node/node_modules/.package-lock.json ## npm ws, and a page in Chromium
	cd tests/node && CHROMIUM=$$(../tools/chromium.sh) npm test --silent

test-console: tests/console/node_modules/.package-lock.json ## The console, driven by the keyboard in Chromium
	cd tests/console && CHROMIUM=$$(../tools/chromium.sh) npm test --silent

test-docs: $(PY) ## What the pages say: manifests, links, names, commands
	$(PY) -m pytest -q tests/docs

test-proxies: $(PY) ## nginx and HAProxy before a gateway
	tests/proxies/setup.sh
	$(PY) -m pytest -q tests/proxies

# The same promises with Memory, with one NATS server and with three.
test-broker: $(PY) $(NATS) ## The broker's contract: one gateway with Memory, then three over NATS, then three over a cluster
	$(if $(GIVEN),,cargo build --locked -p headgate-gateway)
	BROKER=memory $(PY) -m pytest -q -n 6 --maxschedchunk 1 tests/broker
	BROKER=nats $(PY) -m pytest -q -n 6 --maxschedchunk 1 tests/broker
	BROKER=nats3 $(PY) -m pytest -q -n 6 --maxschedchunk 1 tests/broker

lint: ## Formatting and clippy, warnings denied
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --locked -- -D warnings
	cargo clippy -p headgate-crds --features kube --all-targets --locked -- -D warnings
	@if cargo tree -p headgate-gateway --locked | grep -E ' (kube|k8s-openapi) '; then echo "the gateway must not compile a Kubernetes client"; exit 1; fi

deny: .tools/bin/cargo-deny ## Licences, bans, sources and advisories of what comes into the build
	.tools/bin/cargo-deny check licenses bans sources
	@if .tools/bin/cargo-deny fetch db; then .tools/bin/cargo-deny check advisories; \
	else echo "left out: advisories, since their database cannot be had from here"; fi

CASES ?= *
conformance: ## Autobahn's cases, close codes demanded; CASES='1.*,7.*' narrows
	cargo build --release --locked -p headgate-gateway
	tests/conformance/setup.sh .tools/autobahn
	tests/conformance/serve.sh $(RELEASE) '$(CASES)'

ABUSE ?=
abuse: ## Attacks with healthy clients beside them; ABUSE=--quick or ABUSE='ping flood' narrows
	$(if $(GIVEN),,cargo build --release --locked -p headgate-gateway)
	command -v slowhttptest >/dev/null || { apt-get update --quiet && apt-get install --quiet --yes --no-install-recommends slowhttptest; }
	python3 tests/abuse/run.py $(ABUSE)

SCAN ?=
scan: ## schemathesis on the API, sslyze on TLS, promtool on the metrics; SCAN=tls narrows
	$(if $(GIVEN),,cargo build --release --locked -p headgate-gateway)
	tests/scan/setup.sh .tools/scan
	.tools/scan/bin/python tests/scan/run.py $(SCAN)

SECONDS ?= 20
fuzz: ## Look for inputs that break a promise, SECONDS=20 for each target; TARGETS='frames proxy' narrows
	SECONDS_EACH=$(SECONDS) fuzz/run.sh $(TARGETS)

fuzz-ci: ## Replay the corpus of each fuzz target, then look for 5 s
	MODE=ci fuzz/run.sh $(TARGETS)

# --- measure it ---

ROUNDS ?= 5
bench: $(if $(PEERS),.tools/bin/centrifugo) ## The gateway's cost against a bare epoll loop, in turns; ROUNDS=5, PEERS=1 adds Centrifugo
	cargo build --release --locked -p headgate-gateway -p headgate-tests
	$(TARGET)/release/bench --gateway $(RELEASE) --reference $(TARGET)/release/reference --rounds $(ROUNDS) $(addprefix --centrifugo ,$<)

load: ## 10,000 connections and deliveries a second, a storm of handshakes, 100,000 connects and closes; ONLY=seed,storm,churn
	cargo build --release --locked -p headgate-gateway -p headgate-tests
	$(TARGET)/release/load --gateway $(RELEASE) $(if $(ONLY),--only $(ONLY))

MEASURE = cargo build --release --locked -p headgate-gateway -p headgate-tests && $(TARGET)/release/$(1) --gateway $(RELEASE) --nats-server $(NATS)
MINUTES ?= 3
# The faults that break wires, which have namespaces of the network for that.
WIRES = $(if $(FAULT),$(findstring partition,$(FAULT))$(findstring slow,$(FAULT)),all)
faults: $(NATS) ## Break NATS, gateways and the wires between them under 1,000 clients, as root; FAULT=nats-kill,partition and MINUTES=3 narrow
	$(if $(WIRES),tests/tools/network.sh)
	$(call MEASURE,faults) --minutes $(MINUTES) $(if $(FAULT),--fault $(FAULT))

faults-ci: $(NATS) ## Three of the faults, for half a minute each
	$(call MEASURE,faults) --seconds 30 --fault nats-kill,nats-empty,gateway-kill

fleet: $(NATS) ## Three gateways over NATS: 5,000 publications a second, 100,000 channels, 3,000 users who are present; ONLY=deliver,kept,channels,presence
	$(call MEASURE,fleet) $(if $(ONLY),--only $(ONLY))

clean-tools: ## Remove what the targets installed
	rm -rf .tools .run tests/*/node_modules

.PHONY: help run nats run-nats generate test test-clients test-node test-console test-docs test-proxies test-broker lint deny faults faults-ci fleet conformance abuse scan fuzz fuzz-ci bench load clean-tools
