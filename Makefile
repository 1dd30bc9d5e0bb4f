# The commands of a working day. CI runs `make ci`.
.PHONY: help check ci fuzz fleet providers browser bench bench-peers advisories demo

help: ## this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

check: ## format, lints, docs, tests: before every commit
	@.ci/run fast

ci: ## everything that CI runs, after installing what is missing
	@.ci/run

fuzz: ## all fuzz targets, from their corpus, for five minutes with the build
	@.ci/run fuzz

fleet: ## three replicas of the gateway with a real Redis, which fails in every way
	@.ci/run fleet

providers: ## the gateway against Keycloak, Glewlwyd and oidc-provider
	@.ci/run providers

browser: ## the demo in headless Chromium
	@.ci/run browser

bench: ## the benchmarks, for real
	cargo bench

bench-peers: ## side by side with HAProxy, nginx, Envoy and bare Pingora, which it fetches; then what grows. Half an hour
	cargo bench --bench side_by_side
	cargo bench --bench side_by_side -- --growth

advisories: ## known vulnerabilities of dependencies (fetches the RustSec database)
	cargo deny --all-features check advisories

demo: ## shopping cart, forum, identity provider and gateway in one process
	cargo run --example demo
