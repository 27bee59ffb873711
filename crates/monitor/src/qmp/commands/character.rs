//! Character devices.

use super::{Qapi, command};
use crate::vm::lock;
use crate::{Command, Context};
use base::{Result, error};
use std::fmt::Write;

/// The commands of this file.
pub const COMMANDS: &[Command] = &[QUERY_CHARDEV, QUERY_CHARDEV_BACKENDS, RINGBUF_READ, RINGBUF_WRITE];

/// A character device.
#[derive(Debug, Qapi)]
pub struct ChardevInfo {
    label: String,
    filename: String,
    frontend_open: bool,
}

/// The character devices.
#[command(hmp("info chardev", "", "show the character devices"))]
pub fn query_chardev(context: &mut Context<'_>) -> Result<Vec<ChardevInfo>> {
    let list = lock(context.vm.chardevs()).list();
    for one in &list {
        let _ = writeln!(context.out, "{}: filename={}", one.id, one.what);
    }
    Ok(list
        .into_iter()
        .map(|one| ChardevInfo { label: one.id, filename: one.what, frontend_open: one.used })
        .collect())
}

/// A kind of character devices.
#[derive(Debug, Qapi)]
pub struct ChardevBackendInfo {
    name: String,
}

/// The kinds of character devices.
#[command]
pub fn query_chardev_backends(_: &mut Context<'_>) -> Result<Vec<ChardevBackendInfo>> {
    let names = backends::char::BACKEND_HELP.lines().skip(1);
    Ok(names.map(|name| ChardevBackendInfo { name: name.trim().to_owned() }).collect())
}

/// How bytes are written in JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Qapi)]
pub enum DataFormat {
    /// As text; what is none is replaced.
    Utf8,
    /// In the base64 encoding.
    Base64,
}

/// Takes bytes out of a ring buffer.
#[command(hmp("ringbuf_read", "device size", "Read from a ring buffer character device"))]
pub fn ringbuf_read(
    context: &mut Context<'_>,
    device: String,
    size: i64,
    format: Option<DataFormat>,
) -> Result<String> {
    let chardevs = lock(context.vm.chardevs());
    let ringbuf = chardevs.ringbuf(&device);
    let ringbuf = ringbuf.ok_or_else(|| match chardevs.contains(&device) {
        true => error!("{device} is not a ringbuf device"),
        false => error!("Device '{device}' not found"),
    })?;
    let size = usize::try_from(size).ok().filter(|size| *size > 0);
    let size = size.ok_or_else(|| error!("size must be greater than zero"))?;
    let bytes = ringbuf.read(size);
    drop(chardevs);
    let text = match format {
        Some(DataFormat::Base64) => super::base64::encode(&bytes),
        _ => String::from_utf8_lossy(&bytes).into_owned(),
    };
    context.out.push_str(&text);
    context.out.push('\n');
    Ok(text)
}

/// Puts bytes into a ring buffer.
#[command(hmp("ringbuf_write", "device data", "Write to a ring buffer character device"))]
pub fn ringbuf_write(
    context: &mut Context<'_>,
    device: String,
    data: String,
    format: Option<DataFormat>,
) -> Result<()> {
    let bytes = match format {
        Some(DataFormat::Base64) => {
            super::base64::decode(&data).ok_or_else(|| error!("Base64 data '{data}' is not valid"))?
        }
        _ => data.into_bytes(),
    };
    let chardevs = lock(context.vm.chardevs());
    let ringbuf = chardevs.ringbuf(&device);
    let ringbuf = ringbuf.ok_or_else(|| match chardevs.contains(&device) {
        true => error!("{device} is not a ringbuf device"),
        false => error!("Device '{device}' not found"),
    })?;
    backends::char::CharPort::write(&**ringbuf, &bytes);
    Ok(())
}
