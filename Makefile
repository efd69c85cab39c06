# The only entry point. What a target needs and a fresh Debian with Rust, Python and Node lacks, it
# installs into .tools, pinned.
.DEFAULT_GOAL := help
SHELL := /bin/bash
PY := .tools/venv/bin/python
RELEASES := $(or $(CARGO_TARGET_DIR),target)/release
RELEASE := $(RELEASES)/headgate-gateway
SECRETS := .run/secrets

help: ## Say what there is
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | sort

$(PY): tests/clients/requirements.txt
	python3 -m venv .tools/venv
	$(PY) -m pip install --quiet --requirement $<
	touch $@

$(SECRETS): 
	mkdir -p $(SECRETS)/chat-jwt $(SECRETS)/chat-api
	head -c 32 /dev/urandom > $(SECRETS)/chat-jwt/hmac
	head -c 24 /dev/urandom | od -An -tx1 | tr -d ' \n' > $(SECRETS)/chat-api/api-key

run: $(SECRETS) ## Build the gateway and serve examples/gateway.yaml
	cargo build --release --locked -p headgate-gateway
	@echo "WebSocket   ws://127.0.0.1:8080/ws"
	@echo "Internal    http://127.0.0.1:9090/status (also /metrics, /livez, /readyz)"
	@echo "Token       $(RELEASE) token --secret $(SECRETS)/chat-jwt/hmac --user alice --subscribe '**' --publish '**'"
	@echo "Publish     curl -H \"Authorization: Bearer \$$(cat $(SECRETS)/chat-api/api-key)\" -d '{\"channel\":\"public.hello\",\"data\":\"hi\"}' http://127.0.0.1:9090/api/v1/publish"
	$(RELEASE) serve examples/gateway.yaml --listen 127.0.0.1:8080 --internal-listen 127.0.0.1:9090 --secrets $(SECRETS)

test: $(PY) ## Unit and property tests, then stock clients against the real binary
	cargo test --workspace --locked
	cargo test -p headgate-crds --features kube --locked
	cargo build --locked -p headgate-gateway
	$(PY) -m pytest -q tests/clients

generate: ## Rewrite the CRD and docs/configuration.md from the types
	UPDATE=1 cargo test -p headgate-crds --features kube --locked --test generated

lint: ## Formatting and clippy, warnings denied
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --locked -- -D warnings
	cargo clippy -p headgate-crds --features kube --all-targets --locked -- -D warnings
	@if cargo tree -p headgate-gateway --locked | grep -E ' (kube|k8s-openapi) '; then echo "the gateway must not compile a Kubernetes client"; exit 1; fi

CASES ?= *
conformance: ## Autobahn's cases, close codes demanded; CASES='1.*,7.*' narrows
	cargo build --release --locked -p headgate-gateway
	tests/conformance/setup.sh .tools/autobahn
	tests/conformance/serve.sh $(RELEASE) '$(CASES)'

ROUNDS ?= 5
bench: $(if $(PEERS),.tools/bin/centrifugo) ## The gateway's cost against a bare epoll loop, in turns; ROUNDS=5, PEERS=1 adds Centrifugo
	cargo build --release --locked -p headgate-gateway -p headgate-tests
	$(RELEASES)/bench --gateway $(RELEASES)/headgate-gateway --reference $(RELEASES)/reference --rounds $(ROUNDS) $(addprefix --centrifugo ,$<)

# A peer to compare with; needs Go.
.tools/bin/centrifugo:
	GOBIN=$(CURDIR)/.tools/bin go install github.com/centrifugal/centrifugo/v6@v6.9.1

load: ## 10,000 connections and deliveries a second, a storm of handshakes, 100,000 connects and closes; ONLY=seed,storm,churn
	cargo build --release --locked -p headgate-gateway -p headgate-tests
	$(RELEASES)/load --gateway $(RELEASES)/headgate-gateway $(if $(ONLY),--only $(ONLY))

deny: .tools/bin/cargo-deny ## Licences, bans and sources of what comes into the build
	.tools/bin/cargo-deny check licenses bans sources

.tools/bin/cargo-deny:
	cargo install cargo-deny --version 0.20.2 --locked --root .tools

clean-tools: ## Remove what the targets installed
	rm -rf .tools .run

.PHONY: help run test generate lint conformance bench load deny clean-tools
