CONTAINER ?= docker
VERSION := $(shell sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)
# Of the commit; without one (a tarball) of nothing. What is not committed makes it another one.
REVISION ?= $(shell git describe --always --abbrev=40 --match= --dirty 2>/dev/null || echo unknown)
CREATED ?= $(shell TZ=UTC0 git log -1 --date=format-local:%Y-%m-%dT%H:%M:%SZ --format=%cd 2>/dev/null || echo 1970-01-01T00:00:00Z)
SOURCE_DATE_EPOCH ?= $(shell git log -1 --format=%ct 2>/dev/null || echo 0)

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
		--build-arg REVISION=$(REVISION) --build-arg CREATED=$(CREATED) \
		--build-arg SOURCE_DATE_EPOCH=$(SOURCE_DATE_EPOCH) \
		.

build-image-legacy-app:
	$(CONTAINER) build --tag legacy-app:1.0.0 examples/legacy-app
