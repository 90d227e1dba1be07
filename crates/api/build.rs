//! `sqlx::migrate!` embeds the migrations: a new file must build the crate again.

fn main() {
    println!("cargo:rerun-if-changed=../../migrations/sqlite");
}
