.PHONY: test demo ci

test:
	cargo test --workspace

demo:
	cargo run --release -- demo

ci:
	.ci/run
