//! Tars of one file, made and read: the form in which Docker takes a build context and hands out a file.
//!
//! Pure. It must not grow into a general tar library: sparse files, links and extensions are skipped.

/// Bytes of a tar block.
const BLOCK: usize = 512;

/// A tar holding one regular file, mode 0644, owned by root. `name` must be shorter than 100 bytes.
pub(super) fn of_one_file(name: &str, content: &[u8]) -> Vec<u8> {
    let mut header = [0_u8; BLOCK];
    let mut put = |at: usize, text: &str| {
        for (slot, byte) in header[at..].iter_mut().zip(text.bytes()) {
            *slot = byte;
        }
    };
    put(0, name);
    put(100, "0000644\0");
    put(108, "0000000\0");
    put(116, "0000000\0");
    put(124, &format!("{:011o}\0", content.len()));
    put(136, "00000000000\0");
    // The sum is taken over the header with this field blank.
    put(148, "        ");
    put(156, "0");
    put(257, "ustar\x0000");
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    let mut put = |at: usize, text: &str| {
        for (slot, byte) in header[at..].iter_mut().zip(text.bytes()) {
            *slot = byte;
        }
    };
    put(148, &format!("{sum:06o}\0 "));

    let mut tar = header.to_vec();
    tar.extend_from_slice(content);
    tar.resize(tar.len().next_multiple_of(BLOCK) + 2 * BLOCK, 0);
    tar
}

/// The content of the first regular file of a tar; `None` when there is none or the tar is cut short.
pub(super) fn first_file(tar: &[u8]) -> Option<Vec<u8>> {
    let mut rest = tar;
    while rest.len() >= BLOCK {
        let (header, after) = rest.split_at(BLOCK);
        if header.iter().all(|byte| *byte == 0) {
            return None;
        }
        let size = size(&header[124..136])?;
        if matches!(header[156], b'0' | 0) {
            return after.get(..size).map(<[u8]>::to_vec);
        }
        rest = after.get(size.checked_next_multiple_of(BLOCK)?..)?;
    }
    None
}

/// A size field: octal text, or base 256 when its first bit is set (from 8 GiB on).
fn size(field: &[u8]) -> Option<usize> {
    if field[0] & 0x80 != 0 {
        return field[1..].iter().try_fold(0_usize, |sum, byte| {
            sum.checked_mul(256)?.checked_add(usize::from(*byte))
        });
    }
    let text = std::str::from_utf8(field).ok()?;
    usize::from_str_radix(text.trim_matches(['\0', ' ']), 8).ok()
}

#[cfg(test)]
mod tests {
    use super::{first_file, of_one_file};

    #[test]
    fn what_goes_in_comes_out() {
        for length in [0, 1, 511, 512, 513, 5000] {
            let content = vec![b'x'; length];
            let tar = of_one_file("Dockerfile", &content);
            assert_eq!(tar.len() % 512, 0);
            assert_eq!(first_file(&tar), Some(content));
        }
    }

    #[test]
    fn a_cut_or_empty_tar_holds_no_file() {
        let tar = of_one_file("name", &[b'x'; 600]);
        assert_eq!(first_file(&tar[..1000]), None);
        assert_eq!(first_file(&[0; 1024]), None);
        assert_eq!(first_file(&[]), None);
    }
}
