//! docs/CALLS.md is generated from the table: this test writes it anew and compares. With
//! `UPDATE_DOCS=1` it replaces the file.

use std::fmt::Write;
use std::path::Path;
use std::{env, fs};

use log_format::record::Dir;
use log_format::table::{By, Class, FlagSet, IOCTLS, Len, ROWS, Row, Ty};

#[test]
fn the_document_is_what_the_table_says() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/CALLS.md");
    let document = document();
    if env::var_os("UPDATE_DOCS").is_some() {
        fs::write(&path, &document).unwrap();
    }
    let there = fs::read_to_string(&path).unwrap_or_default();
    let differs = there.lines().zip(document.lines()).find(|(a, b)| a != b);
    assert!(
        there == document,
        "docs/CALLS.md is not what the table says, first at {differs:?}\n\
         try: UPDATE_DOCS=1 cargo test -p rr-run-log-format"
    );
}

const HEAD: &str = "# Calls

Every x86-64 syscall, and what rr-run does with it. Generated from the table in
`preload/log-format/src/table/`; change the table, then run
`UPDATE_DOCS=1 cargo test -p rr-run-log-format`.

";

fn document() -> String {
    let mut out = String::from(HEAD);
    out += "| class | meaning | calls |\n|---|---|---|\n";
    for (class, meaning) in CLASSES {
        let count = ROWS.iter().filter(|row| row.class == class).count();
        _ = writeln!(out, "| {class:?} | {meaning} | {count} |");
    }
    out += "
A Blocking call gives up the token only if its arguments let it wait (`Row::class_of`): not a poll
without a timeout, a futex wake, or F_GETFL.

Buffers: *in* is read by the kernel and compared on replay, *in, not compared* is only shown, *out*
is written by the kernel and given to the guest on replay; *out always* is logged also when the
call fails. \"result\" is what the call returned.

| number | call | class | buffers |
|---:|---|---|---|
";
    for row in ROWS {
        let args: Vec<&str> = row.args.iter().map(|arg| arg.name).collect();
        let head = format!("`{}({})`", row.name, args.join(", "));
        let buffers: Vec<String> = (0..row.args.len()).flat_map(|i| buffers(row, i)).collect();
        let buffers = buffers.join("; ");
        _ = writeln!(out, "| {} | {head} | {:?} | {buffers} |", row.nr, row.class);
    }
    out += "
## ioctl

What the third argument is, by request. A request that is not listed is read by the convention of
its number (_IOR, _IOW); one without the convention is taken to have no buffer.

| request | name | argument |
|---|---|---|
";
    for (request, name, ty) in IOCTLS {
        let row = ROWS.iter().find(|row| row.name == "ioctl").unwrap();
        let text = buffer(row, *ty).unwrap_or_else(|| number(*ty).into());
        _ = writeln!(out, "| {request:#x} | {name} | {text} |");
    }
    out
}

const CLASSES: [(Class, &str); 5] = [
    (Class::Local, "performed in both modes: the own address space or the own threads"),
    (Class::Recorded, "performed while recording, answered from the log on replay"),
    (Class::Blocking, "as Recorded, and gives up the token while it waits"),
    (Class::Own, "has code of its own in the shim"),
    (Class::Refused, "answered with ENOSYS in both modes, and noted"),
];

/// The buffers that one argument leads to.
fn buffers(row: &Row, index: usize) -> Vec<String> {
    let arg = row.args[index];
    if arg.ty == Ty::Ioctl {
        return vec!["`argp`: by request, see below".into()];
    }
    let Ty::By(by) = arg.ty else {
        return buffer(row, arg.ty)
            .map(|text| format!("`{}` {text}", arg.name))
            .into_iter()
            .collect();
    };
    let mut cases: Vec<(String, String)> = Vec::new();
    for (value, ty) in by.cases.iter().copied().chain([(u32::MAX, by.other)]) {
        let Some(text) = buffer(row, ty) else { continue };
        let is_other = value == u32::MAX && ty == by.other;
        let case = if is_other { "otherwise".into() } else { case(row, by, value) };
        match cases.iter_mut().find(|(there, _)| *there == text) {
            Some((_, names)) => *names += &format!(", {case}"),
            None => cases.push((text, case)),
        }
    }
    cases.iter().map(|(text, names)| format!("`{}` ({names}) {text}", arg.name)).collect()
}

/// Name of the deciding argument's value.
fn case(row: &Row, by: &By, value: u32) -> String {
    let of = row.args[usize::from(by.of)];
    let name = match of.ty {
        Ty::Flags(set) if set != FlagSet::Hex => set.name_of(value),
        _ => None,
    };
    name.map_or_else(|| format!("{} {value:#x}", of.name), str::to_owned)
}

fn buffer(row: &Row, ty: Ty) -> Option<String> {
    let sized = |how: &str, len: Len| Some(format!("{how}: {}", length(row, len)));
    let counted = |how: &str, i: u8| Some(format!("{how}: {} vectors", arg_name(row, i)));
    match ty {
        Ty::Path => Some("in: a string".into()),
        Ty::Strings => Some("in: strings".into()),
        Ty::In(len, _) => sized("in", len),
        Ty::InLoose(len, _) => sized("in, not compared", len),
        Ty::Out(len, _) => sized("out", len),
        Ty::OutAlways(len, _) => sized("out always", len),
        Ty::InOut(len, _) => sized("in and out", len),
        Ty::IovIn(i) => counted("in", i),
        Ty::IovOut(i) => counted("out", i),
        Ty::MsgIn => Some("in: a message".into()),
        Ty::MsgOut => Some("out: a message".into()),
        Ty::MmsgIn => Some("in: messages".into()),
        Ty::MmsgOut => Some("out: messages".into()),
        Ty::SigsetPair => Some("in: a signal set behind a pointer".into()),
        Ty::XattrArgs(Dir::Out) => Some("out: the value, result bytes".into()),
        Ty::XattrArgs(_) => Some("in: the value".into()),
        Ty::Regset => Some("out: one vector and its new length".into()),
        Ty::Ifconf => Some("out: the list and its new length".into()),
        _ => None,
    }
}

fn number(ty: Ty) -> &'static str {
    match ty {
        Ty::Unused => "none",
        Ty::Addr => "an address that is not followed",
        Ty::Fd => "a descriptor",
        _ => "a number",
    }
}

fn arg_name(row: &Row, i: u8) -> String {
    format!("`{}`", row.args[usize::from(i)].name)
}

fn length(row: &Row, len: Len) -> String {
    match len {
        Len::Fixed(n) => format!("{n}"),
        Len::Arg(i) => arg_name(row, i),
        Len::ArgPlus(i, head) => format!("{} + {head}", arg_name(row, i)),
        Len::ArgTimes(i, size) => format!("{} × {size}", arg_name(row, i)),
        Len::Ret => "result".into(),
        Len::RetPlus(head) => format!("result + {head}"),
        Len::RetTimes(size) => format!("result × {size}"),
        Len::RetMax(i) => format!("result, at most {}", arg_name(row, i)),
        Len::RetTimesMax(size, i) => format!("(result, at most {}) × {size}", arg_name(row, i)),
        Len::U32At(i, _) => format!("what {} points to", arg_name(row, i)),
        Len::Counted(head, _, item) => format!("{head} + its count × {item}"),
        Len::Bits(i) => format!("{} bits, in words", arg_name(row, i)),
        Len::Pages(i) => format!("a byte for each page of {}", arg_name(row, i)),
    }
}
