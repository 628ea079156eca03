//! Every benchmark runs once on next to nothing. This shows that it works; it measures nothing.

use larder_bench::{Size, areas};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_area_runs() {
    for area in areas::AREAS {
        let rows = area.run(Size::Tiny).await;
        assert!(!rows.is_empty(), "{} has no rows", area.name);
        for row in rows {
            assert!(!row.entries.is_empty(), "{}: nobody took part", row.work);
        }
    }
}
