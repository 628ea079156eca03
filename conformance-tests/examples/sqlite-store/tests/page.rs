//! The code on the page "Writing a backend" is the code of this package.

const PAGE: &str = include_str!("../../../../docs/writing-a-backend.md");
const CODE: &str = concat!(include_str!("../src/lib.rs"), include_str!("conformance.rs"));

#[test]
fn every_piece_of_code_on_the_page_stands_in_the_package() {
    let pieces: Vec<&str> = PAGE
        .split("```rust\n")
        .skip(1)
        .map(|rest| rest.split("```").next().expect("a block ends"))
        .collect();
    assert!(pieces.len() > 5);
    for piece in pieces {
        assert!(CODE.contains(piece), "not in the package any more:\n{piece}");
    }
}
