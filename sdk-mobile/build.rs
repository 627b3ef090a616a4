//! How the shared library is linked.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let system = std::env::var("CARGO_CFG_TARGET_OS").unwrap_or_default();
    if matches!(system.as_str(), "linux" | "android") {
        // Threads run in it: a host that unloads it would pull the ground from under them.
        println!("cargo::rustc-link-arg-cdylib=-Wl,-z,nodelete");
    }
    if system == "android" {
        // Devices from Android 15 on may have pages of 16 KiB.
        println!("cargo::rustc-link-arg-cdylib=-Wl,-z,max-page-size=16384");
    }
}
