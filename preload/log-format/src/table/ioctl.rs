//! ioctl requests: what their third argument points to.

/// One request.
#[derive(Clone, Copy, Debug)]
pub struct IoctlRow {
    /// Request number.
    pub request: u32,
    /// Name.
    pub name: &'static str,
    /// Bytes the kernel reads.
    pub write: u32,
    /// Bytes the kernel writes.
    pub read: u32,
}

/// The row of a request; for an unlisted one that follows the _IOR/_IOW convention, what its
/// number says (name empty).
pub fn ioctl(request: u64) -> Option<IoctlRow> {
    let request = request as u32;
    if let Some(row) = IOCTLS.iter().find(|r| r.request == request) {
        return Some(*row);
    }
    let (dir, size) = (request >> 30, (request >> 16) & 0x3fff);
    if dir == 0 {
        return None;
    }
    Some(IoctlRow {
        request,
        name: "",
        write: if dir & 1 != 0 { size } else { 0 },
        read: if dir & 2 != 0 { size } else { 0 },
    })
}

const IOCTLS: &[IoctlRow] = &[IoctlRow { request: 0x5401, name: "TCGETS", write: 0, read: 60 }];
