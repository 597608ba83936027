//! Event files of `TensorBoard`: scalars over lengths, a folder for each run.
//!
//! A file is records of `TFRecord`: a length, a masked CRC-32C of it, bytes, and a masked CRC-32C of these. The bytes are a message `Event`
//! of tensorflow/core/util/event.proto, of which a few fields are written here.

use std::path::PathBuf;

use super::runs::{Run, Runs};

pub(super) fn files(runs: &Runs<'_>) -> Vec<(PathBuf, Vec<u8>)> {
    let file = |run: &Run<'_>| {
        // by the name a reader knows which file of a folder is the newest
        let name = format!("events.out.tfevents.{:010}.longlens", run.finished());
        (PathBuf::from(&run.file_name).join(name), events(runs, run))
    };
    runs.runs.iter().map(file).collect()
}

/// The events of a run: at the step of each length its score, the ends of its interval and how many samples it is of.
fn events(runs: &Runs<'_>, run: &Run<'_>) -> Vec<u8> {
    let wall_time = run.finished() as f64;
    let mut bytes = Vec::new();
    let mut version = Message::default();
    version.double(1, wall_time);
    version.bytes(3, b"brain.Event:2");
    record(&mut bytes, &version.0);
    for row in &run.rows {
        let task = runs.task(&row.task, &row.setting, row.task_version);
        let name = row.part.as_ref().map_or_else(|| task.clone(), |part| format!("{task}/{part}"));
        let scalars = [
            ("score", row.score),
            ("interval_low", row.interval.0),
            ("interval_high", row.interval.1),
            ("samples", row.n as f64),
        ];
        for (group, number) in scalars.into_iter().filter(|(_, number)| number.is_finite()) {
            let mut value = Message::default();
            value.bytes(1, format!("{group}/{name}").as_bytes());
            value.float(2, number as f32);
            let mut summary = Message::default();
            summary.bytes(1, &value.0);
            let mut event = Message::default();
            event.double(1, wall_time);
            event.varint(2, row.length.unwrap_or(0) as u64);
            event.bytes(5, &summary.0);
            record(&mut bytes, &event.0);
        }
    }
    bytes
}

/// A message of Protocol Buffers, field by field.
#[derive(Default)]
struct Message(Vec<u8>);

impl Message {
    fn tag(&mut self, field: u64, wire: u64) {
        self.raw_varint(field << 3 | wire);
    }

    fn raw_varint(&mut self, mut number: u64) {
        while number > 0x7f {
            self.0.push(number as u8 | 0x80);
            number >>= 7;
        }
        self.0.push(number as u8);
    }

    fn varint(&mut self, field: u64, number: u64) {
        self.tag(field, 0);
        self.raw_varint(number);
    }

    fn double(&mut self, field: u64, number: f64) {
        self.tag(field, 1);
        self.0.extend(number.to_le_bytes());
    }

    fn float(&mut self, field: u64, number: f32) {
        self.tag(field, 5);
        self.0.extend(number.to_le_bytes());
    }

    fn bytes(&mut self, field: u64, bytes: &[u8]) {
        self.tag(field, 2);
        self.raw_varint(bytes.len() as u64);
        self.0.extend(bytes);
    }
}

fn record(out: &mut Vec<u8>, bytes: &[u8]) {
    let length = (bytes.len() as u64).to_le_bytes();
    out.extend(length);
    out.extend(masked(&length).to_le_bytes());
    out.extend(bytes);
    out.extend(masked(bytes).to_le_bytes());
}

/// A checksum of bytes that hold checksums themselves would tell little, so it is turned and moved.
pub(super) fn masked(bytes: &[u8]) -> u32 {
    crc32c(bytes).rotate_right(15).wrapping_add(0xa282_ead8)
}

/// CRC-32C (Castagnoli), bit by bit: event files are small.
pub(super) fn crc32c(bytes: &[u8]) -> u32 {
    const REVERSED: u32 = 0x82f6_3b78;
    let step = |crc: u32, _| if crc & 1 == 1 { crc >> 1 ^ REVERSED } else { crc >> 1 };
    !bytes.iter().fold(!0, |crc, byte| (0..8).fold(crc ^ u32::from(*byte), step))
}
