//! `struct sockaddr` of the common families.

use std::net::{Ipv4Addr, Ipv6Addr};

use log_format::table::FlagSet;

use super::bytes::{be16_at, i32_at, u16_at, u32_at};
use super::text;

/// `{AF_INET, 127.0.0.1:8080}`.
pub(super) fn sockaddr(bytes: &[u8]) -> String {
    known(bytes).unwrap_or_else(|| match u16_at(bytes, 0) {
        Some(family) => {
            let data = bytes.get(2..).unwrap_or(&[]);
            format!("{{{}, {}}}", text::one(FlagSet::Domain, family.into()), text::quoted(data, 64))
        }
        None => text::quoted(bytes, 64),
    })
}

fn known(bytes: &[u8]) -> Option<String> {
    const AF_UNSPEC: u16 = 0;
    const AF_UNIX: u16 = 1;
    const AF_INET: u16 = 2;
    const AF_INET6: u16 = 10;
    const AF_NETLINK: u16 = 16;
    Some(match u16_at(bytes, 0)? {
        AF_UNSPEC => "{AF_UNSPEC}".into(),
        AF_INET => {
            let ip: [u8; 4] = bytes.get(4..8)?.try_into().ok()?;
            format!("{{AF_INET, {}:{}}}", Ipv4Addr::from(ip), be16_at(bytes, 2)?)
        }
        AF_INET6 => {
            let ip: [u8; 16] = bytes.get(8..24)?.try_into().ok()?;
            let scope = match u32_at(bytes, 24) {
                None | Some(0) => String::new(),
                Some(n) => format!("%{n}"),
            };
            format!("{{AF_INET6, [{}{scope}]:{}}}", Ipv6Addr::from(ip), be16_at(bytes, 2)?)
        }
        AF_UNIX => match bytes.get(2..)? {
            [] => "{AF_UNIX}".into(),
            [0, name @ ..] => format!("{{AF_UNIX, @{}}}", text::quoted(name, usize::MAX)),
            path => {
                let end = path.iter().position(|b| *b == 0).unwrap_or(path.len());
                format!("{{AF_UNIX, {}}}", text::quoted(path.get(..end)?, usize::MAX))
            }
        },
        AF_NETLINK => {
            let groups = text::hex(u32_at(bytes, 8)?.into());
            format!("{{AF_NETLINK, pid={}, groups={groups}}}", i32_at(bytes, 4)?)
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_are_shown_in_their_own_way() {
        assert_eq!(sockaddr(&[2, 0, 0x1f, 0x90, 127, 0, 0, 1]), "{AF_INET, 127.0.0.1:8080}");
        let mut v6 = vec![10, 0, 0, 80, 0, 0, 0, 0];
        v6.extend([0; 15]);
        v6.push(1);
        v6.extend([0; 4]);
        assert_eq!(sockaddr(&v6), "{AF_INET6, [::1]:80}");
        assert_eq!(sockaddr(b"\x01\0/run/x\0junk"), "{AF_UNIX, \"/run/x\"}");
        assert_eq!(sockaddr(b"\x01\0\0bus"), "{AF_UNIX, @\"bus\"}");
        assert_eq!(sockaddr(b"\x01\0"), "{AF_UNIX}");
        let netlink = [16, 0, 0, 0, 7, 0, 0, 0, 1, 0, 0, 0];
        assert_eq!(sockaddr(&netlink), "{AF_NETLINK, pid=7, groups=0x1}");
        assert_eq!(sockaddr(&[40, 0, 1]), "{AF_VSOCK, \"\\1\"}");
        assert_eq!(sockaddr(&[2]), "\"\\2\"");
    }
}
