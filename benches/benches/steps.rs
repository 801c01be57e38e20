//! What a step costs beyond its field.
fn main() {}
