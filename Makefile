# The only entry point. What a target needs and a fresh Debian with Rust, Python and Node lacks, it
# installs into .tools, pinned.
.DEFAULT_GOAL := help
SHELL := /bin/bash
PY := .tools/venv/bin/python
NODE_MODULES := tests/node/node_modules/.package-lock.json
RELEASE := target/release/headgate-gateway
SECRETS := .run/secrets

help: ## Say what there is
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | sort

$(PY): tests/clients/requirements.txt
	python3 -m venv .tools/venv
	$(PY) -m pip install --quiet --requirement $<
	touch $@

$(NODE_MODULES): tests/node/package-lock.json
	cd tests/node && npm ci --silent --no-audit --no-fund
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

test: ## Unit and property tests, then stock clients against the real binary
	cargo test --workspace --locked
	cargo test -p headgate-crds --features kube --locked
	cargo build --locked -p headgate-gateway
	$(MAKE) --no-print-directory -j2 -Otarget clients-python clients-node

# Most of their time is spent waiting for what the protocol promises, so many run beside each other.
clients-python: $(PY)
	$(PY) -m pytest -q -n 12 --maxschedchunk 1 tests/clients

clients-node: $(NODE_MODULES)
	cd tests/node && CHROMIUM=$$(../tools/chromium.sh) npm test --silent

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

ABUSE ?=
abuse: ## Attacks with healthy clients beside them; ABUSE=--quick or ABUSE='ping flood' narrows
	$(if $(HEADGATE_GATEWAY),,cargo build --release --locked -p headgate-gateway)
	command -v slowhttptest >/dev/null || apt-get install -y --no-install-recommends slowhttptest
	python3 tests/abuse/run.py $(ABUSE)

SCAN ?=
scan: ## schemathesis on the API, sslyze on TLS, promtool on the metrics; SCAN=tls narrows
	$(if $(HEADGATE_GATEWAY),,cargo build --release --locked -p headgate-gateway)
	tests/scan/setup.sh .tools/scan
	.tools/scan/bin/python tests/scan/run.py $(SCAN)

clean-tools: ## Remove what the targets installed
	rm -rf .tools .run

.PHONY: help run test clients-python clients-node generate lint conformance clean-tools
