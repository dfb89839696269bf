//! What traces cost beside the bytes of an exchange: `cargo bench --features bench --bench tracing`.

use divan::Bencher;
use divan::counter::ItemsCount;
use portcullis::benching::Bench;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() {
    divan::main();
}

fn bench(exporter: &str, share: &str) -> Bench {
    let flags = ["--trace-exporter", exporter, "--trace-sample", share];
    // A share without an exporter would be a mistake.
    let flags = if exporter == "off" {
        &flags[..2]
    } else {
        &flags
    };
    Bench::with("json", flags).expect("what is measured can be set up")
}

/// An exporter, and the share of traces that is kept.
const SHARES: [(&str, &str); 4] = [
    ("off", ""),
    ("otlp", "0%"),
    ("otlp", "1%"),
    ("otlp", "100%"),
];
const CAME: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

/// Record, ring, metrics and spans.
#[divan::bench(args = SHARES)]
fn an_exchange_without_a_trace(bencher: Bencher<'_, '_>, (exporter, share): (&str, &str)) {
    let bench = bench(exporter, share);
    bencher.bench_local(|| bench.traced(None));
}

/// The same of a request that belongs to a trace.
#[divan::bench(args = SHARES)]
fn an_exchange_of_a_trace(bencher: Bencher<'_, '_>, (exporter, share): (&str, &str)) {
    let bench = bench(exporter, share);
    bencher.bench_local(|| bench.traced(Some(CAME)));
}

/// The body of a request to the collector, with 512 spans; the control thread makes it.
#[divan::bench(args = ["otlp", "zipkin"])]
fn a_batch_as(bencher: Bencher<'_, '_>, exporter: &str) {
    let bench = bench(exporter, "100%");
    bencher
        .counter(ItemsCount::new(512_usize))
        .with_inputs(|| bench.batch())
        .bench_local_values(|batch| bench.encode(batch));
}
