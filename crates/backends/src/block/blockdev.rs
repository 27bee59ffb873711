//! `-blockdev`: reading the option, in its `key=value` and JSON forms.

use std::sync::Arc;

use super::drive::NATIVE_IS_DIRECT;
use super::raw::ReadOnly;
use super::{BlockDevice, History, NullDevice, RawFile, RawOptions};
use crate::Error;
use crate::options::Options;

/// A parsed `-blockdev` option.
#[derive(Clone, Debug)]
pub struct BlockdevOption {
    /// The node's name.
    pub node_name: String,
    node: Node,
}

#[derive(Clone, Debug)]
enum Node {
    File {
        filename: String,
        options: RawOptions,
    },
    Null {
        len: u64,
        read_only: bool,
    },
    /// `raw` over a node defined in place.
    Raw(Box<Node>),
    /// `raw` over a node named elsewhere.
    RawOver {
        name: String,
        read_only: bool,
    },
}

fn missing(key: &str) -> Error {
    Error::new(format!("Parameter '{key}' is missing"))
}

impl BlockdevOption {
    /// Reads the argument of `-blockdev`.
    ///
    /// # Errors
    /// The text to print behind `-blockdev ARGUMENT: `.
    pub fn parse(text: &str) -> Result<BlockdevOption, Error> {
        let mut options = match text.trim_start().starts_with('{') {
            true => flatten(text)?,
            false => Options::parse(text, Some("driver")),
        };
        let node_name = options.take("node-name");
        let node = read_node(&mut options, "")?;
        if let Some(key) = options.first_key() {
            return Err(Error::new(format!("Parameter '{key}' is unexpected")));
        }
        let node_name =
            node_name.ok_or_else(|| Error::new("'node-name' must be specified for the root node"))?;
        if !crate::options::is_identifier(&node_name) || node_name.len() > 31 {
            return Err(Error::new(format!("Invalid node-name: '{node_name}'")));
        }
        Ok(BlockdevOption { node_name, node })
    }

    /// A raw image in a file, which keeps no space for zeroes.
    pub fn image(node_name: &str, filename: &str) -> BlockdevOption {
        let options = RawOptions { discard: true, ..RawOptions::default() };
        let file = Node::File { filename: filename.to_owned(), options };
        BlockdevOption { node_name: node_name.to_owned(), node: Node::Raw(Box::new(file)) }
    }

    /// The driver's name.
    pub fn driver(&self) -> &'static str {
        match &self.node {
            Node::File { .. } => "file",
            Node::Null { .. } => "null-co",
            Node::Raw(_) | Node::RawOver { .. } => "raw",
        }
    }

    /// The name of the node below, if it is one with a name.
    pub fn below(&self) -> Option<&str> {
        match &self.node {
            Node::RawOver { name, .. } => Some(name),
            _ => None,
        }
    }

    /// The path of the image, if the option names it.
    pub fn filename(&self) -> Option<&str> {
        let mut node = &self.node;
        while let Node::Raw(below) = node {
            node = below;
        }
        match node {
            Node::File { filename, .. } => Some(filename),
            _ => None,
        }
    }

    /// Whether writes are to be refused.
    pub fn read_only(&self) -> bool {
        match &self.node {
            Node::Null { read_only, .. } | Node::RawOver { read_only, .. } => *read_only,
            Node::File { .. } | Node::Raw(_) => self.raw_options().is_some_and(|options| options.read_only),
        }
    }

    /// How its file is to be opened, if the option names one.
    pub fn raw_options(&self) -> Option<RawOptions> {
        let mut node = &self.node;
        while let Node::Raw(below) = node {
            node = below;
        }
        match node {
            Node::File { options, .. } => Some(*options),
            _ => None,
        }
    }

    /// The image is to be opened without a lock: another process has it, which will let go of it.
    pub fn leave_unlocked(&mut self) {
        let mut node = &mut self.node;
        while let Node::Raw(below) = node {
            node = below;
        }
        if let Node::File { options, .. } = node {
            options.lock = false;
        }
    }

    /// Opens the node; `find` looks nodes up by their names.
    ///
    /// # Errors
    /// The text to print behind `-blockdev ARGUMENT: `.
    pub fn open(
        &self,
        find: &dyn Fn(&str) -> Option<Arc<dyn BlockDevice>>,
    ) -> Result<Arc<dyn BlockDevice>, Error> {
        open(&self.node, find)
    }
}

fn open(
    node: &Node,
    find: &dyn Fn(&str) -> Option<Arc<dyn BlockDevice>>,
) -> Result<Arc<dyn BlockDevice>, Error> {
    match node {
        Node::File { filename, options } => Ok(History::new(RawFile::open(filename, *options)?)),
        Node::Null { len, read_only } => Ok(Arc::new(NullDevice { len: *len, read_only: *read_only })),
        Node::Raw(below) => open(below, find),
        Node::RawOver { name, read_only } => {
            let absent = || Error::new(format!("Cannot find device='{name}' nor node-name='{name}'"));
            let below = find(name).ok_or_else(absent)?;
            Ok(if *read_only { Arc::new(ReadOnly(below)) } else { below })
        }
    }
}

fn read_node(options: &mut Options, prefix: &str) -> Result<Node, Error> {
    let key = |name: &str| format!("{prefix}{name}");
    let driver = options.take(&key("driver")).ok_or_else(|| missing(&key("driver")))?;
    let read_only = options.take_bool(&key("read-only"))?.unwrap_or(false);
    let auto_read_only = options.take_bool(&key("auto-read-only"))?.unwrap_or(false);
    let no_flush = options.take_bool(&key("cache.no-flush"))?.unwrap_or(false);
    let direct = options.take_bool(&key("cache.direct"))?.unwrap_or(false);
    let choice = |options: &mut Options, name: &str, values: &[&str]| match options.take(&key(name)) {
        Some(value) if !values.contains(&&*value) => {
            Err(Error::new(format!("Parameter '{}' does not accept value '{value}'", key(name))))
        }
        value => Ok(value),
    };
    let discard = choice(options, "discard", &["ignore", "unmap"])?.as_deref() == Some("unmap");
    choice(options, "detect-zeroes", &["off", "on", "unmap"])?;
    match &*driver {
        "file" | "host_device" => {
            let filename = options.take(&key("filename")).ok_or_else(|| missing(&key("filename")))?;
            let aio = choice(options, "aio", &["threads", "native", "io_uring"])?;
            if aio.as_deref() == Some("native") && !direct {
                return Err(Error::new(NATIVE_IS_DIRECT));
            }
            let lock = choice(options, "locking", &["on", "off", "auto"])?.as_deref() != Some("off");
            let raw = RawOptions {
                read_only,
                auto_read_only,
                lock,
                discard,
                no_flush,
                writethrough: false,
                direct,
            };
            Ok(Node::File { filename, options: raw })
        }
        "null-co" | "null-aio" => {
            let len = options.take_size(&key("size"))?.unwrap_or(1 << 30);
            let _ = (options.take_number(&key("latency-ns"))?, options.take_bool(&key("read-zeroes"))?);
            Ok(Node::Null { len, read_only })
        }
        "raw" => match options.take(&key("file")) {
            Some(name) => Ok(Node::RawOver { name, read_only }),
            None => {
                let below = key("file.");
                if options.get(&format!("{below}driver")).is_none() {
                    return Err(missing(&key("file")));
                }
                let past = format!("{below}cache.direct");
                if direct && options.get(&past).is_none() {
                    options.push(&past, "on");
                }
                let mut node = read_node(options, &below)?;
                if let Node::File { options: raw, .. } = &mut node {
                    raw.read_only |= read_only;
                    raw.discard |= discard;
                }
                Ok(Node::Raw(Box::new(node)))
            }
        },
        "qcow2" | "qcow" | "vmdk" | "vdi" | "vpc" | "vhdx" | "luks" | "nbd" | "http" | "https" | "iscsi"
        | "ssh" | "rbd" | "throttle" | "copy-on-read" | "blkdebug" | "host_cdrom" => {
            Err(Error::new(format!("block driver '{driver}' is not available yet")))
        }
        _ => Err(Error::new(format!("Parameter 'driver' does not accept value '{driver}'"))),
    }
}

/// Turns a JSON object into dotted keys.
fn flatten(text: &str) -> Result<Options, Error> {
    let value = qapi::parse(text).map_err(|error| Error::new(error.to_string()))?;
    let mut options = Options::default();
    flatten_into(&mut options, "", &value);
    Ok(options)
}

fn flatten_into(options: &mut Options, key: &str, value: &serde_json::Value) {
    use serde_json::Value;
    let below = |name: &str| if key.is_empty() { name.to_owned() } else { format!("{key}.{name}") };
    match value {
        Value::Object(members) => {
            for (name, value) in members {
                flatten_into(options, &below(name), value);
            }
        }
        Value::Array(items) => {
            for (index, value) in items.iter().enumerate() {
                flatten_into(options, &below(&index.to_string()), value);
            }
        }
        Value::Bool(value) => options.push(key, if *value { "on" } else { "off" }),
        Value::String(value) => options.push(key, value),
        Value::Number(value) => options.push(key, &value.to_string()),
        Value::Null => {}
    }
}
