//! The rows, by area. A row may stand in any area's file; here they are put in order.

use super::{Class, Effect, Ret, Row};

/// Writes rows as `number name: Class (argument: type, ...) -> Ret;`, or with what the call does
/// to files and the network as `... -> Ret, Effect;`.
macro_rules! rows {
    ($(
        $nr:literal $name:ident: $class:ident ($($arg:ident: $ty:expr),* $(,)?) -> $ret:ident
            $(, $effect:expr)?;
    )*) => {
        &[$($crate::table::Row {
            nr: $nr,
            name: stringify!($name),
            class: $crate::table::Class::$class,
            args: &[$($crate::table::Arg { name: stringify!($arg), ty: $ty }),*],
            ret: $crate::table::Ret::$ret,
            effect: [$($effect,)? $crate::table::Effect::None][0],
        }),*]
    };
}

mod file;
mod io;
mod ipc;
mod memory;
mod net;
mod path;
mod process;
mod sched;
mod signal;
mod system;
mod time;

const AREAS: &[&[Row]] = &[
    file::ROWS,
    io::ROWS,
    ipc::ROWS,
    memory::ROWS,
    net::ROWS,
    path::ROWS,
    process::ROWS,
    sched::ROWS,
    signal::ROWS,
    system::ROWS,
    time::ROWS,
];

/// One row per syscall number, in the order of the numbers.
pub const ROWS: &[Row] = &ORDERED;

const COUNT: usize = {
    let mut count = 0;
    let mut area = 0;
    while area < AREAS.len() {
        count += AREAS[area].len();
        area += 1;
    }
    count
};

const MISSING: u16 = u16::MAX;

#[expect(clippy::large_const_arrays, reason = "used once, behind the reference above")]
const ORDERED: [Row; COUNT] = {
    let none = Row {
        nr: MISSING,
        name: "",
        class: Class::Refused,
        args: &[],
        ret: Ret::Int,
        effect: Effect::None,
    };
    let mut rows = [none; COUNT];
    let mut area = 0;
    while area < AREAS.len() {
        let mut i = 0;
        while i < AREAS[area].len() {
            let row = AREAS[area][i];
            let at = super::index_of(row.nr as u64);
            assert!(at < COUNT, "a number is missing before this one");
            assert!(rows[at].nr == MISSING, "two rows for one number");
            rows[at] = row;
            i += 1;
        }
        area += 1;
    }
    rows
};
