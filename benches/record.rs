//! What an exchange costs beside its bytes: `cargo bench --features bench`. The target is less than a microsecond together.

use divan::Bencher;
use portcullis::benching::Bench;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() {
    divan::main();
}

/// PORTCULLIS_BENCH_FORMAT is `json`, which it is by default, or `combined`.
fn bench() -> Bench {
    let format = std::env::var("PORTCULLIS_BENCH_FORMAT").unwrap_or_default();
    Bench::new(&format).expect("what is measured can be set up")
}

/// Record, ring and metrics.
#[divan::bench]
fn record_ring_and_metrics(bencher: Bencher<'_, '_>) {
    let bench = bench();
    bencher.bench_local(|| bench.exchange());
}

/// The same of a worker that sleeps after each exchange.
#[divan::bench]
fn record_ring_and_metrics_one_by_one(bencher: Bencher<'_, '_>) {
    let bench = bench();
    bencher.bench_local(|| {
        bench.exchange();
        bench.hand_over();
    });
}

/// What remains without the line: what is missing here against the first is its formatting, and handing it over.
#[divan::bench]
fn metrics_and_no_record(bencher: Bencher<'_, '_>) {
    let bench = bench();
    bench.unheard(|| bencher.bench_local(|| bench.exchange()));
}

/// A line that is there already, into the ring.
#[divan::bench]
fn ring_alone(bencher: Bencher<'_, '_>) {
    let bench = bench();
    bencher.bench_local(|| bench.keep());
}

#[divan::bench]
fn metrics_alone(bencher: Bencher<'_, '_>) {
    let bench = bench();
    bencher.bench_local(|| bench.count());
}

#[divan::bench]
fn a_scrape(bencher: Bencher<'_, '_>) {
    let bench = bench();
    bench.count();
    bencher.bench_local(|| bench.scrape());
}
