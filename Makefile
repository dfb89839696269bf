CONTAINER ?= docker
VERSION := $(shell sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)

.PHONY: test demo ci build-images build-image-portcullis build-image-legacy-app

test:
	cargo test --workspace

demo:
	cargo run --release -- demo

ci:
	.ci/run

# portcullis:VERSION and legacy-app:1.0.0, with docker, or whatever CONTAINER names.
build-images: build-image-portcullis build-image-legacy-app

build-image-portcullis:
	$(CONTAINER) build --tag portcullis:$(VERSION) \
		--build-arg VERSION=$(VERSION) \
		--build-arg REVISION="$$(git rev-parse HEAD)" \
		--build-arg CREATED="$$(TZ=UTC0 git log -1 --date=format-local:%Y-%m-%dT%H:%M:%SZ --format=%cd)" \
		--build-arg SOURCE_DATE_EPOCH="$$(git log -1 --format=%ct)" \
		.

build-image-legacy-app:
	$(CONTAINER) build --tag legacy-app:1.0.0 examples/legacy-app
