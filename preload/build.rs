//! Link arguments of the shim: no library is needed at run time, its constructor runs first.

fn main() {
    for arg in ["-nostdlib", "-nostartfiles", "-Wl,-z,initfirst", "-Wl,-z,now", "-Wl,-Bsymbolic"] {
        println!("cargo:rustc-cdylib-link-arg={arg}");
    }
    println!("cargo:rerun-if-changed=build.rs");
}
