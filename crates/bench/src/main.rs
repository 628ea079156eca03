//! Measures the areas that are named, or all, and prints their rows as JSON; `cargo xtask bench` makes
//! pages of it.

use larder_bench::{Row, Size, areas};
use serde::Serialize;

#[cfg(feature = "peers")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[derive(Serialize)]
struct Measured {
    area: &'static str,
    about: &'static str,
    rows: Vec<Row>,
}

fn main() {
    let mut size = Size::Full;
    let mut names = Vec::new();
    for argument in std::env::args().skip(1) {
        match argument.as_str() {
            "--quick" => size = Size::Quick,
            "--tiny" => size = Size::Tiny,
            _ => names.push(argument),
        }
    }
    let wanted = |area: &&areas::Area| {
        // Its figures are the counting allocator's, which the other program has.
        area.name != "footprint" && (names.is_empty() || names.iter().any(|name| name == area.name))
    };
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.expect("a runtime");
    for area in areas::AREAS.iter().filter(wanted) {
        let rows = runtime.block_on(area.run(size));
        print(&Measured { area: area.name, about: area.about, rows });
    }
}

fn print(measured: &Measured) {
    println!("{}", serde_json::to_string(measured).expect("it is JSON"));
}
