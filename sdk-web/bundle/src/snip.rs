//! Takes out of a module what only describes panics.
//!
//! A panic traps; its message is put together all the same, since a stable compiler can't be told that nobody will read
//! it. So the functions that do that become traps themselves, and wasm-opt removes what is used nowhere else.

use std::path::Path;

use anyhow::Context as _;
use walrus::{DataId, FunctionBuilder, FunctionId, FunctionKind, LocalFunction, Module};

/// Parts of the names, in both of the compiler's manglings, of functions that the client needs for nothing else.
const OF_PANICS: [&str; 4] = [
    "4core3fmt",
    "core..fmt..",
    "4core9panicking",
    "18handle_alloc_error",
];

/// Texts that only panics tell, and the digits that only they are written with. The client writes numbers itself.
const IN_PANICS: [&str; 8] = [
    "called `Option::unwrap()` on a `None` value",
    "called `Result::unwrap()` on an `Err` value",
    "capacity overflow",
    "index out of bounds: the len is ",
    " but the index is ",
    "memory allocation of ",
    "LayoutError",
    "0001020304050607080910111213141516171819202122232425262728293031323334353637383940414243444546474849\
     5051525354555657585960616263646566676869707172737475767778798081828384858687888990919293949596979899",
];

/// The module without them.
///
/// # Errors
/// If the file can't be read as WebAssembly.
pub(crate) fn snip(path: &Path) -> anyhow::Result<Vec<u8>> {
    let mut module = Module::from_file(path).with_context(|| format!("read {}", path.display()))?;
    let of_panics: Vec<FunctionId> = module
        .funcs
        .iter_local()
        .map(|(id, _)| id)
        .filter(|id| {
            let name = module.funcs.get(*id).name.as_deref().unwrap_or("");
            OF_PANICS.iter().any(|part| name.contains(part))
        })
        .collect();
    for id in of_panics {
        let trap = trap(&mut module, id);
        module.funcs.get_mut(id).kind = FunctionKind::Local(trap);
    }
    let data: Vec<DataId> = module.data.iter().map(walrus::Data::id).collect();
    for id in data {
        let bytes = &mut module.data.get_mut(id).value;
        blank_paths(bytes);
        for text in IN_PANICS {
            blank(bytes, text.as_bytes());
        }
    }
    walrus::passes::gc::run(&mut module);
    Ok(module.emit_wasm())
}

/// Zeroes the paths of the standard library's sources, which only panics tell.
fn blank_paths(data: &mut [u8]) {
    const END: &[u8] = b".rs";
    let mut rest = data;
    while let Some(start) = rest.windows(7).position(|bytes| bytes == b"/rustc/") {
        rest = &mut rest[start..];
        let Some(end) = rest.windows(END.len()).position(|bytes| bytes == END) else {
            return;
        };
        let (path, after) = rest.split_at_mut(end + END.len());
        path.fill(0);
        rest = after;
    }
}

/// Zeroes a text wherever it is.
fn blank(data: &mut [u8], text: &[u8]) {
    let mut rest = data;
    while let Some(start) = rest.windows(text.len()).position(|bytes| bytes == text) {
        let (found, after) = rest[start..].split_at_mut(text.len());
        found.fill(0);
        rest = after;
    }
}

/// A function of the same type that does nothing but trap.
fn trap(module: &mut Module, id: FunctionId) -> LocalFunction {
    let kind = module.types.get(module.funcs.get(id).ty());
    let (params, results) = (kind.params().to_vec(), kind.results().to_vec());
    let mut builder = FunctionBuilder::new(&mut module.types, &params, &results);
    builder.func_body().unreachable();
    let arguments = params.iter().map(|kind| module.locals.add(*kind)).collect();
    builder.local_func(arguments)
}
