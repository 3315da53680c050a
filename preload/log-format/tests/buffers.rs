//! Where the table says that buffers are, in memory made up for the purpose.

use log_format::record::{BUF_INDIRECT, BUF_NOT_COMPARED, Dir};
use log_format::table::{BufAt, Class, FlagSet, Memory, ROWS, Row, Ty, buffers, row};
use proptest::collection::vec;
use proptest::prelude::*;

/// Memory at [`BASE`]; all else can't be read.
struct Fake(Vec<u8>);

const BASE: u64 = 0x10000;

impl Memory for Fake {
    fn read(&self, addr: u64, into: &mut [u8]) -> bool {
        let from = addr.checked_sub(BASE).and_then(|at| usize::try_from(at).ok());
        let there = from.and_then(|from| self.0.get(from..from.checked_add(into.len())?));
        there.map(|there| into.copy_from_slice(there)).is_some()
    }
}

impl Fake {
    fn words(words: &[u64]) -> Fake {
        Fake(words.iter().flat_map(|w| w.to_le_bytes()).collect())
    }
}

fn named(name: &str) -> &'static Row {
    ROWS.iter().find(|row| row.name == name).unwrap()
}

fn six(args: &[u64]) -> [u64; 6] {
    let mut all = [0xdead_beef; 6];
    all[..args.len()].copy_from_slice(args);
    all
}

fn found(name: &str, args: &[u64], ret: i64, mem: &Fake) -> Vec<BufAt> {
    let mut all = Vec::new();
    buffers(named(name), &six(args), ret, mem, &mut |buf| all.push(buf));
    all
}

fn at(arg: u8, dir: Dir, flags: u16, addr: u64, len: u32) -> BufAt {
    BufAt { arg, dir, flags, addr, len }
}

#[test]
fn data_is_as_long_as_the_result() {
    let none = Fake(Vec::new());
    assert_eq!(found("read", &[3, BASE, 100], 7, &none), [at(1, Dir::Out, 0, BASE, 7)]);
    assert_eq!(found("read", &[3, BASE, 100], 0, &none), []);
    assert_eq!(found("read", &[3, BASE, 100], -11, &none), []);
    assert_eq!(found("write", &[3, BASE, 100], 7, &none), [at(1, Dir::In, 0, BASE, 7)]);
}

#[test]
fn a_path_ends_at_its_nul_or_is_cut() {
    let mem = Fake(b"xx/etc/hosts\0zzz".to_vec());
    assert_eq!(found("chdir", &[BASE + 2], 0, &mem), [at(0, Dir::In, 0, BASE + 2, 11)]);
    assert_eq!(found("chdir", &[BASE + 2], -2, &mem), [at(0, Dir::In, 0, BASE + 2, 11)]);
    assert_eq!(found("chdir", &[BASE + 2], -14, &mem), []);
    assert_eq!(found("chdir", &[5], -14, &mem), []);
    let long = Fake(vec![b'x'; 8192]);
    assert_eq!(found("chdir", &[BASE], -36, &long), [at(0, Dir::In, 0, BASE, 4097)]);
}

#[test]
fn what_a_failed_connect_was_given_is_logged() {
    // 16 bytes of sockaddr_in, of which the last eight mean nothing.
    let mem = Fake::words(&[0x0100_007f_901f_0002, 0x1234]);
    let expected = [at(1, Dir::In, 0, BASE, 8)];
    assert_eq!(found("connect", &[3, BASE, 16], -115, &mem), expected);
    assert_eq!(found("connect", &[3, BASE, 0xffff_ffff_0000_0010], 0, &mem), expected);
    let unix = Fake(b"\x01\0/run/x\0garbage that follows".to_vec());
    assert_eq!(found("connect", &[3, BASE, 30], 0, &unix), [at(1, Dir::In, 0, BASE, 9)]);
    let abstract_name = Fake(b"\x01\0\0name".to_vec());
    assert_eq!(found("connect", &[3, BASE, 7], 0, &abstract_name), [at(1, Dir::In, 0, BASE, 7)]);
}

#[test]
fn a_length_without_sense_makes_no_large_record() {
    let none = Fake(Vec::new());
    let minus_one = u64::from(u32::MAX);
    assert_eq!(found("setsockopt", &[3, 1, 2, BASE, minus_one], -22, &none), []);
    let lens: Vec<u32> =
        found("poll", &[BASE, minus_one, 0], -22, &none).iter().map(|buf| buf.len).collect();
    assert_eq!(lens, [1 << 20]);
}

#[test]
fn what_is_read_and_written_at_one_address_is_not_compared() {
    let none = Fake(Vec::new());
    assert_eq!(
        found("rt_sigprocmask", &[0, BASE, BASE, 8], 0, &none),
        [at(1, Dir::In, BUF_NOT_COMPARED, BASE, 8), at(2, Dir::Out, 0, BASE, 8)]
    );
    assert_eq!(
        found("rt_sigprocmask", &[0, BASE, BASE + 8, 8], 0, &none),
        [at(1, Dir::In, 0, BASE, 8), at(2, Dir::Out, 0, BASE + 8, 8)]
    );
}

#[test]
fn vectors_end_with_the_transfer() {
    let mem = Fake::words(&[0x500, 3, 0x600, 100, 0x700, 100]);
    assert_eq!(
        found("readv", &[3, BASE, 3], 10, &mem),
        [at(1, Dir::Out, BUF_INDIRECT, 0x500, 3), at(1, Dir::Out, BUF_INDIRECT, 0x600, 7)]
    );
}

#[test]
fn a_message_has_a_header_a_name_data_and_control() {
    // msghdr, then its one vector.
    let mem = Fake::words(&[0x500, 16, BASE + 56, 1, 0x600, 24, 0, 0x700, 64]);
    assert_eq!(
        found("recvmsg", &[3, BASE, 0], 5, &mem),
        [
            at(1, Dir::Out, BUF_INDIRECT, BASE, 56),
            at(1, Dir::Out, BUF_INDIRECT, 0x500, 16),
            at(1, Dir::Out, BUF_INDIRECT, 0x700, 5),
            at(1, Dir::Out, BUF_INDIRECT | BUF_NOT_COMPARED, 0x600, 24),
        ]
    );
}

#[test]
fn value_result_lengths_are_read_after_the_call() {
    let mem = Fake(vec![28, 0, 0, 0]);
    assert_eq!(
        found("accept", &[3, 0x500, BASE], 4, &mem),
        [at(1, Dir::Out, 0, 0x500, 28), at(2, Dir::Out, 0, BASE, 4)]
    );
    assert_eq!(found("accept", &[3, 0, 0], 4, &mem), []);
}

#[test]
fn an_argument_depends_on_the_command() {
    let none = Fake(Vec::new());
    assert_eq!(found("fcntl", &[3, 5, BASE], 0, &none), [at(2, Dir::Out, 0, BASE, 32)]);
    assert_eq!(found("fcntl", &[3, 3, BASE], 2, &none), []);
    assert_eq!(named("fcntl").compared_bits(2, &six(&[3, 3, 7])), 0);
    assert_eq!(named("fcntl").compared_bits(2, &six(&[3, 4, 7])), 0xffff_ffff);
    // Without O_CREAT the mode register holds anything.
    assert_eq!(named("openat").compared_bits(3, &six(&[0, BASE, 0])), 0);
    assert_eq!(named("openat").compared_bits(3, &six(&[0, BASE, 0o101])), 0xffff_ffff);
    assert_eq!(found("ioctl", &[1, 0x5401, BASE], 0, &none), [at(2, Dir::Out, 0, BASE, 36)]);
    assert_eq!(found("ioctl", &[1, 0x5401, BASE], -25, &none), []);
}

#[test]
fn only_calls_that_may_wait_give_up_the_token() {
    let class = |name: &str, args: &[u64]| named(name).class_of(&six(args));
    assert_eq!(class("read", &[0, BASE, 1]), Class::Blocking);
    assert_eq!(class("futex", &[BASE, 0x80]), Class::Blocking);
    assert_eq!(class("futex", &[BASE, 0x189]), Class::Blocking);
    assert_eq!(class("futex", &[BASE, 0x81]), Class::Recorded);
    assert_eq!(class("fcntl", &[3, 3]), Class::Recorded);
    assert_eq!(class("fcntl", &[3, 7]), Class::Blocking);
    assert_eq!(class("poll", &[BASE, 1, 0]), Class::Recorded);
    assert_eq!(class("poll", &[BASE, 1, 0xffff_ffff]), Class::Blocking);
    assert_eq!(class("epoll_wait", &[3, BASE, 1, 0]), Class::Recorded);
    assert_eq!(class("recvfrom", &[3, BASE, 1, 0x40]), Class::Recorded);
    assert_eq!(class("recvmsg", &[3, BASE, 0x40]), Class::Recorded);
    assert_eq!(class("wait4", &[0, 0, 1]), Class::Recorded);
    assert_eq!(class("waitid", &[0, 0, 0, 5]), Class::Recorded);
    assert_eq!(class("msgrcv", &[0, 0, 0, 0, 0o4000]), Class::Recorded);
    assert_eq!(class("msgsnd", &[0, 0, 0, 0o4000]), Class::Recorded);
    assert_eq!(class("flock", &[3, 6]), Class::Recorded);
    assert_eq!(class("open", &[BASE, 0o4000]), Class::Recorded);
    assert_eq!(class("openat", &[0, BASE, 0]), Class::Blocking);
    assert_eq!(class("sendmmsg", &[3, BASE, 1, 0x40]), Class::Recorded);
    assert_eq!(class("mmap", &[]), Class::Own);
}

#[test]
fn rows_are_found_by_number() {
    assert_eq!(row(0).map(|row| row.name), Some("read"));
    assert_eq!(row(336).map(|row| row.name), Some("uprobe"));
    assert_eq!(row(424).map(|row| row.name), Some("pidfd_send_signal"));
    assert_eq!(row(469).map(|row| row.name), Some("file_setattr"));
    for nr in [337, 400, 423, 470, u64::MAX, 1 << 32] {
        assert_eq!(row(nr).map(|row| row.name), None, "{nr}");
    }
}

#[test]
fn every_row_is_sound() {
    for row in ROWS {
        assert!(row.args.len() <= 6, "{} has too many arguments", row.name);
        let twins = ROWS.iter().filter(|other| other.name == row.name).count();
        assert_eq!(twins, 1, "two rows named {}", row.name);
        for arg in row.args {
            if let Ty::By(by) = arg.ty {
                assert!(usize::from(by.of) < row.args.len(), "{} {}", row.name, arg.name);
                for (value, _) in by.cases {
                    assert_eq!(value & !by.mask, 0, "{} {} {value:#x}", row.name, arg.name);
                }
            }
        }
    }
}

#[test]
fn names_of_several_bits_stand_before_their_parts() {
    for set in FlagSet::ALL {
        for (i, flag) in set.names().iter().enumerate() {
            let wider = |later: &&log_format::table::FlagName| {
                flag.mask == 0
                    && later.mask == 0
                    && later.value != flag.value
                    && later.value & flag.value == flag.value
            };
            let later = set.names().iter().skip(i + 1).find(wider);
            assert!(later.is_none(), "{set:?}: {} hides {:?}", flag.name, later.map(|f| f.name));
        }
    }
}

proptest! {
    #[test]
    fn any_call_on_any_memory_has_bounded_buffers(
        row in 0..ROWS.len(),
        args in vec(prop_oneof![0u64..64, BASE..BASE + 256, any::<u64>()], 6),
        ret in prop_oneof![-600i64..600, any::<i64>()],
        memory in vec(prop_oneof![Just(0u8), any::<u8>()], 0..512),
    ) {
        let args: [u64; 6] = args.try_into().unwrap();
        buffers(&ROWS[row], &args, ret, &Fake(memory), &mut |buf| {
            assert!(buf.len > 0 && buf.len <= 0x7fff_0000);
            assert!(usize::from(buf.arg) < ROWS[row].args.len());
            assert!(buf.dir != Dir::Extra);
        });
    }
}
