//! What a head costs: reading it strictly, and what is changed in its fields on both ways:
//! `cargo bench --features bench --bench headers`.

use divan::Bencher;
use portcullis::benching::{Client, read, response, to_downstream, to_upstream};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() {
    divan::main();
}

/// Finding the end of a head of HTTP/1, and reading it before hyper does.
#[divan::bench(args = [Client::Curl, Client::Browser])]
fn a_head_read_strictly(bencher: Bencher<'_, '_>, client: Client) {
    let head = client.head();
    assert_eq!(read(head), Some(head.len()));
    bencher.bench_local(|| read(divan::black_box(head)));
}

/// What is stripped from a request, and set in it.
#[divan::bench(args = [Client::Curl, Client::Browser, Client::BrowserH2])]
fn a_request_to_the_application(bencher: Bencher<'_, '_>, client: Client) {
    let request = client.request();
    bencher
        .with_inputs(|| request.clone())
        .bench_local_values(to_upstream);
}

/// The same of its response.
#[divan::bench]
fn a_response_to_the_client(bencher: Bencher<'_, '_>) {
    let fields = response();
    bencher
        .with_inputs(|| fields.clone())
        .bench_local_values(to_downstream);
}
