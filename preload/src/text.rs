//! Text that is put together without allocation.

/// At most `N` bytes; what does not fit is left out.
#[derive(Clone, Copy)]
pub struct Text<const N: usize> {
    bytes: [u8; N],
    len: usize,
}

impl<const N: usize> Default for Text<N> {
    fn default() -> Text<N> {
        Text { bytes: [0; N], len: 0 }
    }
}

impl<const N: usize> Text<N> {
    /// Replaces the text.
    pub fn set(&mut self, parts: &[&[u8]]) {
        self.len = 0;
        parts.iter().for_each(|part| self.push(part));
    }

    /// Appends.
    pub fn push(&mut self, part: &[u8]) {
        let room = self.bytes.get_mut(self.len..).unwrap_or(&mut []);
        let len = part.len().min(room.len());
        for (to, from) in room.iter_mut().zip(part) {
            *to = *from;
        }
        self.len += len;
    }

    /// Appends a number in decimal.
    pub fn number(&mut self, number: u32) {
        let mut digits = [0u8; 10];
        let (mut left, mut at) = (number, digits.len());
        while let Some(to) = at.checked_sub(1).and_then(|i| digits.get_mut(i)) {
            at -= 1;
            *to = b'0' + (left % 10) as u8;
            left /= 10;
            if left == 0 {
                break;
            }
        }
        self.push(digits.get(at..).unwrap_or(&[]));
    }

    /// The text.
    pub fn get(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or(&[])
    }
}
