//! Records as JSON, in full.

use base64::Engine;
use log_format::record::{BUF_INDIRECT, Buf, Call, Dir, Kind, Record, extra, flag};
use log_format::table::{Ret, Ty, errno_name};
use serde_json::{Map, Value, json};

use super::{Options, View, signal_name, text};
use crate::log::scan::kind_name;

/// Any record as a JSON object: `kind`, `thread`, `text` as [`super::record`] gives it in full,
/// and what the kind has: for a call `nr`, `name`, `args` (each with `name`, `type`, `value`,
/// `text`), `ret`, `errno`, `buffers` (each with `arg`, `dir`, `addr`, `len`, and its content as
/// `text` if it is UTF-8, else as `base64`).
///
/// Numbers are numbers, addresses and masks are strings in hex.
pub fn json(record: &Record) -> Value {
    let header = record.header;
    let mut out = Map::new();
    let mut put = |key: &str, value: Value| {
        out.insert(key.into(), value);
    };
    put("kind", kind_name(header.kind).into());
    put("thread", header.thread.into());
    put("text", super::record(record, &Options::FULL).into());
    let flags: Vec<&str> = FLAGS
        .iter()
        .filter(|(bit, _)| header.kind != Kind::Clock && header.flags & bit != 0)
        .map(|(_, name)| *name)
        .collect();
    if !flags.is_empty() {
        put("flags", flags.into());
    }
    match header.kind {
        Kind::Call | Kind::Yield | Kind::Start => {
            if let Ok(call) = record.call() {
                let ret = (header.kind == Kind::Call).then_some(call.ret);
                fields(&call, ret, header.kind == Kind::Start, &mut put);
            }
        }
        Kind::Clock => {
            put("clock", header.flags.into());
            put("ns", record.value().into());
        }
        Kind::Tsc | Kind::Shared => put("value", record.value().into()),
        Kind::Exit => put("status", record.value().into()),
        Kind::Signal => {
            let (signo, info) = record.signal().unwrap_or((0, &[]));
            put("signal", signal_name(signo).into());
            put("signo", signo.into());
            put("siginfo", base64(info).into());
        }
        Kind::Note => {
            let (code, note) = record.note().unwrap_or((0, &[]));
            put("code", code.into());
            put("note", super::note_name(code).into());
            put("detail", String::from_utf8_lossy(note).into());
        }
        Kind::Plain => {
            if let Some(plain) = record.plain() {
                put("connection", plain.connection.into());
                put("what", super::plain_name(header.flags).into());
                put("time_ns", plain.time_ns.into());
                put("data", base64(plain.bytes).into());
            }
        }
        Kind::ThreadStart | Kind::ThreadExit | Kind::Preempt => {}
    }
    Value::Object(out)
}

const FLAGS: [(u8, &str); 6] = [
    (flag::COMPLETES, "completes"),
    (flag::SEEDED, "seeded"),
    (flag::LOCAL, "local"),
    (flag::SYNCHRONOUS, "synchronous"),
    (flag::INEXACT, "inexact"),
    (flag::FAIRNESS, "fairness"),
];

fn fields(call: &Call, ret: Option<i64>, start: bool, put: &mut impl FnMut(&str, Value)) {
    let view = View::new(call, ret, &Options::FULL);
    if !start {
        put("nr", call.nr.into());
        put("name", view.name().into());
        let args: Vec<Value> = if view.row.is_some() {
            view.shown_args().map(|(i, name, ty)| arg(&view, i, name, ty)).collect()
        } else {
            call.args.iter().map(|arg| text::hex(*arg).into()).collect()
        };
        put("args", args.into());
    }
    if let Some(ret) = ret {
        let unsigned = view.row.is_some_and(|row| matches!(row.ret, Ret::Addr | Ret::Hex));
        match errno_name(ret) {
            Some((name, _)) => {
                put("ret", ret.into());
                put("errno", name.into());
            }
            None if unsigned => put("ret", text::hex(ret as u64).into()),
            None => put("ret", ret.into()),
        }
    }
    let bufs: Vec<Value> = view.bufs.iter().map(buffer).collect();
    if !bufs.is_empty() {
        put("buffers", bufs.into());
    }
}

fn arg(view: &View, i: usize, name: &'static str, ty: Ty) -> Value {
    let raw = view.args.get(i).copied().unwrap_or(0);
    let value: Value = match ty {
        Ty::Int | Ty::Pid | Ty::Fd | Ty::DirFd | Ty::Signal | Ty::Clock => {
            (raw as u32 as i32).into()
        }
        Ty::Uint | Ty::Mode | Ty::Flags(_) => (raw as u32).into(),
        Ty::Long => (raw as i64).into(),
        Ty::Ulong => raw.into(),
        _ => text::hex(raw).into(),
    };
    json!({ "name": name, "type": type_name(ty), "value": value, "text": view.arg(i, name, ty) })
}

fn type_name(ty: Ty) -> &'static str {
    match ty {
        Ty::Int | Ty::Long => "int",
        Ty::Pid => "pid",
        Ty::Uint | Ty::Ulong => "uint",
        Ty::Hex => "mask",
        Ty::Fd | Ty::DirFd => "fd",
        Ty::Mode => "mode",
        Ty::Signal => "signal",
        Ty::Clock => "clock",
        Ty::Flags(_) => "flags",
        Ty::Path => "path",
        Ty::Strings => "strings",
        Ty::In(..)
        | Ty::InLoose(..)
        | Ty::IovIn(_)
        | Ty::MsgIn
        | Ty::MmsgIn
        | Ty::SigsetPair
        | Ty::XattrArgs(Dir::In) => "in",
        Ty::Out(..)
        | Ty::OutAlways(..)
        | Ty::IovOut(_)
        | Ty::MsgOut
        | Ty::MmsgOut
        | Ty::XattrArgs(_)
        | Ty::Regset => "out",
        Ty::InOut(..) | Ty::Ifconf => "inout",
        Ty::Addr | Ty::Unused | Ty::Ioctl | Ty::By(_) => "address",
    }
}

fn buffer(buf: &Buf) -> Value {
    let mut out = Map::new();
    match extra_name(buf.arg) {
        Some(name) if buf.dir == Dir::Extra => out.insert("extra".into(), name.into()),
        _ => out.insert("arg".into(), buf.arg.into()),
    };
    let dir = match buf.dir {
        Dir::In => "in",
        Dir::Out => "out",
        Dir::Extra => "extra",
    };
    out.insert("dir".into(), dir.into());
    out.insert("addr".into(), text::hex(buf.addr).into());
    out.insert("len".into(), buf.bytes.len().into());
    if buf.flags & BUF_INDIRECT != 0 {
        out.insert("indirect".into(), true.into());
    }
    match std::str::from_utf8(buf.bytes) {
        Ok(text) => out.insert("text".into(), text.into()),
        Err(_) => out.insert("base64".into(), base64(buf.bytes).into()),
    };
    Value::Object(out)
}

fn extra_name(arg: u8) -> Option<&'static str> {
    Some(match arg {
        extra::CHILD => "child",
        extra::FILE => "file",
        extra::OUTPUT => "output",
        extra::START => "start",
        extra::THREAD => "thread",
        extra::TIME => "time",
        extra::WRITTEN => "written",
        extra::SEGMENT => "segment",
        extra::MAPPED => "mapped",
        extra::BORN => "born",
        _ => return None,
    })
}

fn base64(bytes: &[u8]) -> String {
    base64::engine::general_purpose::STANDARD.encode(bytes)
}
