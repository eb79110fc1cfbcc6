//! A record that is accepted keeps its promises, and says the same when it is
//! written again.
#![no_main]

use dtar::format::record::{Item, MAX_LENGTH, Record, decode_list};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let mut bytes = data.to_vec();
    // The length that the record claims is made good, so that most get further.
    if let (Some(length), Ok(right)) = (bytes.get_mut(16..20), u32::try_from(data.len())) {
        length.copy_from_slice(&right.to_le_bytes());
    }
    let Ok(record) = Record::decode(&bytes) else {
        return;
    };
    assert!(bytes.len() <= MAX_LENGTH);
    assert!(record.padding().len() < 512);
    let covered = record
        .items
        .iter()
        .map(|item| u128::from(item.covers(record.body_length)));
    assert_eq!(covered.sum::<u128>(), u128::from(record.body_length));
    let mut again = Vec::new();
    record.encode(&mut again);
    assert_eq!(Record::decode(&again).as_ref(), Ok(&record));
    for item in &record.items {
        if let Item::List(list) = item
            && let Ok(items) = decode_list(data, list)
        {
            let covered = items.iter().map(|item| u128::from(item.covers(0)));
            assert_eq!(covered.sum::<u128>(), u128::from(list.covers));
        }
    }
});
