//! Damage to each structure of a brick: one fault is named, and no byte is lost that is
//! not in the damaged frame.

use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path;

use serde_json::Value;

use crate::made::{Made, brick_parts, text};
use crate::scene::events;

/// What is damaged: kind of the fault, number of the frame, where.
struct Spot {
    kind: &'static str,
    frame: Option<usize>,
    bytes: Range<u64>,
    /// The structure that they belong to.
    within: Range<u64>,
}

fn spots(brick: &Path) -> Vec<Spot> {
    let parts = brick_parts(brick);
    let mut spots = Vec::new();
    let mut within = 0..80;
    let mut spot = |kind, frame, bytes, within: &Range<u64>| {
        spots.push(Spot {
            kind,
            frame,
            bytes,
            within: within.clone(),
        });
    };
    for start in [0, 8, 16, 32, 48, 64] {
        spot("header", None, start..start + 4, &within);
    }
    for (number, (header, sealed)) in parts.frames.iter().enumerate() {
        within = header.start..sealed.end;
        for start in [0, 12, 16, 20, 40, 64, 72, 88, 700] {
            let start = header.start + start;
            spot("frame", Some(number), start..start + 4, &within);
        }
        for bytes in [
            header.end - 16..header.end,
            header.clone(),
            sealed.start..sealed.start + 1,
            sealed.start + 1000..sealed.start + 200_000,
            sealed.end - 16..sealed.end,
            sealed.clone(),
        ] {
            spot("frame", Some(number), bytes, &within);
        }
    }
    let toc = &parts.toc;
    for start in [0, 12, 16, 24, 72, 88, toc.end - toc.start - 16] {
        spot("toc", None, toc.start + start..toc.start + start + 8, toc);
    }
    for start in [0, 12, 16, 24, 32, 48] {
        let start = parts.footer.start + start;
        spot("footer", None, start..start + 8, &parts.footer);
    }
    spots
}

/// A part of a body: member, start, end.
type Part = (String, u64, u64);

fn lost(events: &[Value]) -> Vec<Part> {
    let part = |event: &Value| {
        let member = event["member"].as_str().unwrap().to_owned();
        let at = |field: &str| event[field].as_u64().unwrap();
        (member, at("start"), at("end"))
    };
    events.iter().map(part).collect()
}

#[test]
fn damage_in_a_brick_costs_its_frame_and_nothing_more() {
    let made = Made::many();
    let brick = made.brick();
    let file = File::options().read(true).write(true).open(&brick).unwrap();
    let (mut injected, mut detected) = (0, 0);
    let mut of_frames: Vec<Option<Vec<Part>>> = vec![None; brick_parts(&brick).frames.len()];
    for (number, spot) in spots(&brick).iter().enumerate() {
        let mut right = vec![0; usize::try_from(spot.bytes.end - spot.bytes.start).unwrap()];
        file.read_exact_at(&mut right, spot.bytes.start).unwrap();
        // Zeros where that changes anything, or all bits the other way.
        let zeros = number % 2 == 0 && right.iter().any(|&byte| byte != 0);
        let wrong: Vec<u8> = right
            .iter()
            .map(|&byte| if zeros { 0 } else { !byte })
            .collect();
        file.write_all_at(&wrong, spot.bytes.start).unwrap();
        let case = format!("{} at {:?}", spot.kind, spot.bytes);
        injected += 1;

        let arguments = ["verify", "--no-mark", "--json", "--members"];
        let run = made.sandbox.run(arguments).exits(3);
        let faults = events(&run, "fault");
        assert_eq!(faults.len(), 1, "{case}: {}", run.stderr);
        assert_eq!(faults[0]["kind"], spot.kind, "{case}: {}", run.stderr);
        assert_eq!(faults[0]["path"], text(&brick), "{case}");
        let frame = spot.frame.map_or(Value::Null, Value::from);
        assert_eq!(faults[0]["frame"], frame, "{case}: {}", run.stderr);
        let offset = faults[0]["offset"].as_u64().unwrap();
        assert!(spot.within.contains(&offset), "{case}: {}", run.stderr);
        detected += 1;

        let parts = lost(&events(&run, "damage"));
        if let Some(others) = spot.frame.and_then(|frame| of_frames[frame].as_ref()) {
            assert_eq!(&parts, others, "{case}");
        } else if let Some(frame) = spot.frame {
            // That is what a restore loses, too.
            let run = made.restore(&["--keep-going", "--json"]).exits(3);
            assert_eq!(lost(&events(&run, "damage")), parts, "{case}");
            of_frames[frame] = Some(parts);
        } else {
            assert!(parts.is_empty(), "{case}: {parts:?}");
        }
        file.write_all_at(&right, spot.bytes.start).unwrap();
    }
    let mut bytes = 0;
    let all: Vec<Part> = of_frames.into_iter().flatten().flatten().collect();
    for (place, (member, start, end)) in all.iter().enumerate() {
        bytes += end - start;
        for (other, from, to) in &all[..place] {
            assert!(other != member || from >= end || to <= start, "lost twice");
        }
    }
    let content = Made::PARTS * Made::PART as u64;
    println!(
        "faults injected {injected}, detected {detected}, bytes lost beyond the frame: {}",
        bytes - content
    );
    assert_eq!(bytes, content);
    made.sandbox.run(["verify"]).exits(0);
}
