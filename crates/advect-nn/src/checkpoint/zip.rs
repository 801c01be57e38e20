//! Where the entries of a ZIP archive are, as `torch.save` writes it: stored, not compressed.
//!
//! (PKWARE's APPNOTE.TXT, sections 4.3 and 4.5.3.)

use std::collections::BTreeMap;
use std::io::{self, Read, Seek, SeekFrom};
use std::ops::Range;

/// A field of a record.
fn number(record: &[u8], at: usize, size: usize) -> Option<u64> {
    let mut word = [0; 8];
    word[..size].copy_from_slice(record.get(at..at.checked_add(size)?)?);
    Some(u64::from_le_bytes(word))
}

fn read_at<F: Read + Seek>(file: &mut F, range: Range<u64>) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; (range.end - range.start) as usize];
    file.seek(SeekFrom::Start(range.start))?;
    file.read_exact(&mut bytes)?;
    Ok(bytes)
}

/// The bytes of each entry in the file of that length; a sentence if it is no such archive.
pub(crate) fn entries<F: Read + Seek>(file: &mut F, length: u64) -> Result<BTreeMap<String, Range<u64>>, String> {
    let failed = |error: io::Error| format!("it cannot be read: {error}");
    let cut = || "it is cut off, or its directory is damaged".to_owned();

    // The end record is last, but for a comment of up to 65535 bytes.
    let tail_start = length.saturating_sub(22 + 65535);
    let tail = read_at(file, tail_start..length).map_err(failed)?;
    let end = tail.windows(4).rposition(|window| window == b"PK\x05\x06").ok_or_else(cut)?;
    let field = |at, size| number(&tail, end + at, size);
    if field(20, 2).ok_or_else(cut)? + 22 > (tail.len() - end) as u64 {
        return Err(cut());
    }
    let (mut size, mut start) = (field(12, 4).ok_or_else(cut)?, field(16, 4).ok_or_else(cut)?);
    // Beyond 4 GiB: a locator before it says where the long end record is.
    if let Some(locator) = end.checked_sub(20)
        && tail[locator..].starts_with(b"PK\x06\x07")
    {
        let at = number(&tail, locator + 8, 8).ok_or_else(cut)?;
        let stop = at.checked_add(56).filter(|&stop| stop <= length).ok_or_else(cut)?;
        let record = read_at(file, at..stop).map_err(failed)?;
        if !record.starts_with(b"PK\x06\x06") {
            return Err(cut());
        }
        (size, start) = (number(&record, 40, 8).ok_or_else(cut)?, number(&record, 48, 8).ok_or_else(cut)?);
    }
    let stop = start.checked_add(size).filter(|&stop| stop <= length).ok_or_else(cut)?;
    let directory = read_at(file, start..stop).map_err(failed)?;

    let (mut entries, mut at) = (BTreeMap::new(), 0);
    while at < directory.len() {
        let record = &directory[at..];
        let field = |at, size| number(record, at, size).ok_or_else(cut);
        if !record.starts_with(b"PK\x01\x02") {
            return Err(cut());
        }
        let (name_length, extra_length, comment_length) = (field(28, 2)?, field(30, 2)?, field(32, 2)?);
        let (extra_start, extra_stop) = (46 + name_length as usize, 46 + (name_length + extra_length) as usize);
        let name = String::from_utf8_lossy(record.get(46..extra_start).ok_or_else(cut)?).into_owned();
        let extra = record.get(extra_start..extra_stop).ok_or_else(cut)?;
        let (mut sizes, mut header) = ([field(24, 4)?, field(20, 4)?], field(42, 4)?);
        let mut long = long_fields(extra).into_iter();
        for value in sizes.iter_mut().chain([&mut header]).filter(|value| **value == u64::from(u32::MAX)) {
            *value = long.next().ok_or_else(cut)?;
        }
        if field(10, 2)? != 0 || field(8, 2)? & 1 != 0 || sizes[0] != sizes[1] {
            return Err(format!("its entry `{name}` is compressed or encrypted, which `torch.save` does not do"));
        }
        let local_stop = header.checked_add(30).filter(|&stop| stop <= length).ok_or_else(cut)?;
        let local = read_at(file, header..local_stop).map_err(failed)?;
        let lengths = number(&local, 26, 2).zip(number(&local, 28, 2)).ok_or_else(cut)?;
        let data = local_stop + lengths.0 + lengths.1;
        let data_stop = data.checked_add(sizes[0]).filter(|&stop| stop <= length).ok_or_else(cut)?;
        if !local.starts_with(b"PK\x03\x04") || entries.insert(name, data..data_stop).is_some() {
            return Err(cut());
        }
        at += extra_stop + comment_length as usize;
    }
    Ok(entries)
}

/// The 64-bit fields of an entry's extra data, in the order of the short fields that they stand for.
fn long_fields(mut extra: &[u8]) -> Vec<u64> {
    while let Some((id, size)) = number(extra, 0, 2).zip(number(extra, 2, 2)) {
        let Some(body) = extra.get(4..4 + size as usize) else { break };
        if id == 1 {
            return body.as_chunks::<8>().0.iter().map(|word| u64::from_le_bytes(*word)).collect();
        }
        extra = &extra[4 + size as usize..];
    }
    Vec::new()
}
