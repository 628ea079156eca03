//! As the other program, for the area `footprint` alone: its allocator counts.

use std::alloc::System;

use larder_bench::{Size, areas};
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

fn main() {
    let size =
        if std::env::args().any(|argument| argument == "--tiny") { Size::Tiny } else { Size::Full };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.expect("a runtime");
    for area in areas::AREAS.iter().filter(|area| area.name == "footprint") {
        let rows = runtime.block_on(area.run(size));
        let measured = serde_json::json!({ "area": area.name, "about": area.about, "rows": rows });
        println!("{measured}");
    }
}
