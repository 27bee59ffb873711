//! All drives and block nodes of a machine, by name and by place.

use std::sync::Arc;

use super::{BlockDevice, BlockdevOption, DriveInterface, DriveOption, ErrorAction, Fault, Node};
use crate::Error;

/// One drive or node.
pub struct Drive {
    /// Its name: given, or made from its place (`virtio0`), or the node's name.
    pub id: String,
    /// Where it is plugged in.
    pub interface: DriveInterface,
    /// The bus and the unit on it.
    pub bus: u32,
    /// The unit on the bus.
    pub unit: u32,
    /// The option it came from; `None` for a node.
    pub option: Option<DriveOption>,
    /// What a device has of it; `None` if there is no medium.
    pub device: Option<Arc<Node>>,
    /// Some device has it.
    pub taken: bool,
    /// The path of that device in the object tree, once it has one.
    pub user: Option<String>,
    /// The path of the image, if there is one.
    file: Option<String>,
    /// The format: `raw`, or the driver's name.
    format: String,
    /// The name of the block node.
    node: String,
    /// The name of the node below, if it has one.
    below: Option<String>,
}

impl Drive {
    /// The path of the image, if there is one.
    pub fn file(&self) -> Option<&str> {
        self.file.as_deref()
    }
    /// The format of the image.
    pub fn format(&self) -> &str {
        &self.format
    }
    /// The name of its block node; that of a drive's is made up, as such names begin with `#`.
    pub fn node_name(&self) -> &str {
        &self.node
    }
    /// Whether its medium can be taken out: no device has the drive.
    pub fn removable(&self) -> bool {
        self.option.is_some() && !self.taken
    }
}

/// All drives (`-drive`) and nodes (`-blockdev`).
#[derive(Default)]
pub struct Blocks {
    drives: Vec<Drive>,
    on_fault: Option<FaultListener>,
}

/// Hears of an error of the host's under a node, on the thread of the request.
type FaultListener = Arc<dyn Fn(&Arc<Node>, &Fault) + Send + Sync>;

impl Blocks {
    /// Enters and opens a drive; `default` is the machine's interface for drives that name none. Returns its
    /// name. `notice` is as for [`DriveOption::open`].
    ///
    /// # Errors
    /// The text to print behind `-drive ARGUMENT: `.
    pub fn add_drive(
        &mut self,
        option: DriveOption,
        default: DriveInterface,
        notice: &dyn Fn(&str),
    ) -> Result<String, Error> {
        let interface = option.interface.unwrap_or(default);
        let per_bus = interface.units_per_bus();
        if let Some(id) = &option.id
            && self.find(id).is_some()
        {
            return Err(Error::new(format!("Duplicate ID '{id}' for drive")));
        }
        let (mut bus, mut unit) = (option.bus.unwrap_or(0), option.unit);
        if let Some(index) = option.index {
            bus = index.checked_div(per_bus).unwrap_or(0);
            unit = Some(index.checked_rem(per_bus).unwrap_or(index));
        }
        let unit = match unit {
            Some(unit) => unit,
            None => {
                let mut unit = 0;
                while self.at(interface, bus, unit).is_some() {
                    unit += 1;
                    if per_bus != 0 && unit >= per_bus {
                        unit = 0;
                        bus += 1;
                    }
                }
                unit
            }
        };
        if per_bus != 0 && unit >= per_bus {
            return Err(Error::new(format!("unit {unit} too big (max is {})", per_bus - 1)));
        }
        // The interface `none` has no places.
        if interface != DriveInterface::None && self.at(interface, bus, unit).is_some() {
            let index = bus.saturating_mul(per_bus).saturating_add(unit);
            return Err(Error::new(format!("drive with bus={bus}, unit={unit} (index={index}) exists")));
        }
        let device = self.open(&option, notice)?;
        let id = option.id.clone().unwrap_or_else(|| made_up_id(interface, option.cdrom, bus, unit));
        self.drives.push(Drive {
            id: id.clone(),
            interface,
            bus,
            unit,
            file: option.file.clone(),
            format: option.format.clone().unwrap_or_else(|| "raw".into()),
            option: Some(option),
            device,
            taken: false,
            user: None,
            node: format!("#{id}"),
            below: None,
        });
        Ok(id)
    }

    /// The node of a drive's medium, if it has one.
    fn open(&self, option: &DriveOption, notice: &dyn Fn(&str)) -> Result<Option<Arc<Node>>, Error> {
        let Some(medium) = option.open(notice)? else { return Ok(None) };
        let node = Arc::new(Node::new(medium));
        node.set_limits(option.limits);
        node.set_actions(option.werror, option.rerror);
        self.hear(&node);
        Ok(Some(node))
    }

    /// Puts another medium into a drive that no device has, or takes it out if `option` names none.
    ///
    /// # Errors
    /// It cannot be opened; the old one is still there.
    pub fn change_medium(
        &mut self,
        id: &str,
        option: DriveOption,
        notice: &dyn Fn(&str),
    ) -> Result<(), Error> {
        let device = self.open(&option, notice)?;
        if let Some(drive) = self.drives.iter_mut().find(|drive| drive.id == id) {
            drive.file = option.file.clone();
            drive.format = option.format.clone().unwrap_or_else(|| "raw".into());
            (drive.device, drive.option) = (device, Some(option));
        }
        Ok(())
    }

    /// Hears of errors of the host's under all nodes, also those that come later.
    pub fn on_fault(&mut self, listener: impl Fn(&Arc<Node>, &Fault) + Send + Sync + 'static) {
        self.on_fault = Some(Arc::new(listener));
        self.nodes().for_each(|node| self.hear(node));
    }

    fn hear(&self, node: &Arc<Node>) {
        if let Some(listener) = self.on_fault.clone() {
            let weak = Arc::downgrade(node);
            node.on_fault(move |fault| {
                if let Some(node) = weak.upgrade() {
                    listener(&node, fault);
                }
            });
        }
    }

    /// All nodes.
    pub fn nodes(&self) -> impl Iterator<Item = &Arc<Node>> {
        self.drives.iter().filter_map(|drive| drive.device.as_ref())
    }

    /// Enters and opens a node.
    ///
    /// # Errors
    /// The text to print behind `-blockdev ARGUMENT: `.
    pub fn add_node(&mut self, option: &BlockdevOption) -> Result<(), Error> {
        let id = option.node_name.clone();
        if self.find(&id).is_some() {
            return Err(Error::new(format!("Duplicate nodes with node-name='{id}'")));
        }
        let open = option.open(&|name| self.find(name)?.device.clone().map(|node| node as _));
        let device = Arc::new(Node::new(open?));
        // A device that has the node may say otherwise.
        device.set_actions(ErrorAction::Enospc, ErrorAction::Report);
        self.hear(&device);
        let file = match option.below() {
            Some(below) => self.find(below).and_then(|node| node.file.clone()),
            None => option.filename().map(str::to_owned),
        };
        self.drives.push(Drive {
            node: id.clone(),
            below: option.below().map(str::to_owned),
            id,
            interface: DriveInterface::None,
            bus: 0,
            unit: 0,
            option: None,
            device: Some(device),
            taken: false,
            user: None,
            file,
            format: option.driver().to_owned(),
        });
        Ok(())
    }

    /// The drive or node of this name.
    pub fn find(&self, id: &str) -> Option<&Drive> {
        self.drives.iter().find(|drive| drive.id == id)
    }

    /// The drive of this name, or else the node of this name, or the drive that has it.
    pub fn find_node(&self, name: &str) -> Option<&Drive> {
        self.find(name)
            .or_else(|| self.drives.iter().find(|drive| drive.device.is_some() && drive.node == name))
    }

    /// The drive or node that the device of this id or path has.
    pub fn of_user(&self, id: &str) -> Option<&Drive> {
        let within = |path: &str| {
            let name = path.strip_prefix("/machine/peripheral/").unwrap_or(path);
            name == id || path == id || name.split('/').next() == Some(id)
        };
        self.drives.iter().find(|drive| drive.user.as_deref().is_some_and(within))
    }

    /// The drive that has this node, or the node's own entry.
    pub fn of_node(&self, node: &Arc<Node>) -> Option<&Drive> {
        self.drives.iter().find(|drive| drive.device.as_ref().is_some_and(|own| Arc::ptr_eq(own, node)))
    }

    /// Whether a node that has a name lies over this one.
    pub fn has_parent(&self, name: &str) -> bool {
        self.drives.iter().any(|drive| drive.below.as_deref() == Some(name))
    }

    /// The node `source`, which has got the medium of the node `target`, takes its name, too; the one without a user then
    /// has the other's, or goes if that was a drive's own.
    pub fn exchange(&mut self, source: &Arc<Node>, target: &Arc<Node>) {
        let place = |node: &Arc<Node>| {
            let same = |own: &Arc<Node>| Arc::ptr_eq(own, node);
            self.drives.iter().position(|drive| drive.device.as_ref().is_some_and(same))
        };
        let (Some(a), Some(b)) = (place(source), place(target)) else { return };
        let Ok([source, target]) = self.drives.get_disjoint_mut([a, b]) else { return };
        std::mem::swap(&mut source.node, &mut target.node);
        std::mem::swap(&mut source.file, &mut target.file);
        std::mem::swap(&mut source.format, &mut target.format);
        std::mem::swap(&mut source.below, &mut target.below);
        if source.option.is_some() {
            self.drives.remove(b);
        } else {
            std::mem::swap(&mut source.id, &mut target.id);
        }
    }

    /// The drive at a place.
    pub fn at(&self, interface: DriveInterface, bus: u32, unit: u32) -> Option<&Drive> {
        self.drives.iter().find(|drive| {
            drive.option.is_some() && (drive.interface, drive.bus, drive.unit) == (interface, bus, unit)
        })
    }

    /// Gives the drive or node of this name to a device; `None` if there is no such.
    ///
    /// # Errors
    /// Another device has it.
    pub fn take(&mut self, id: &str) -> Option<Result<&Drive, Error>> {
        let drive = self.drives.iter_mut().find(|drive| drive.id == id)?;
        if drive.taken {
            return Some(Err(Error::new(format!("Drive '{id}' is already in use by another device"))));
        }
        drive.taken = true;
        Some(Ok(drive))
    }

    /// The device that had the drive is gone.
    pub fn give_back(&mut self, id: &str) {
        if let Some(drive) = self.drives.iter_mut().find(|drive| drive.id == id) {
            (drive.taken, drive.user) = (false, None);
        }
    }

    /// Opens a node in another way.
    ///
    /// # Errors
    /// It is another image, or cannot be opened so; the node is as it was.
    pub fn reopen(&self, option: &BlockdevOption) -> Result<(), Error> {
        let name = &option.node_name;
        let entry = self.drives.iter().find(|drive| drive.option.is_none() && drive.id == *name);
        let (entry, node) = entry
            .and_then(|entry| Some((entry, entry.device.as_ref()?)))
            .ok_or_else(|| Error::new(format!("Failed to find node with node-name='{name}'")))?;
        if entry.format != option.driver() {
            return Err(Error::new("Cannot change the option 'driver'"));
        }
        if option.below().is_none() && entry.file.as_deref() != option.filename() {
            return Err(Error::new("Cannot change the option 'filename'"));
        }
        if option.read_only() && entry.taken && !node.read_only() {
            return Err(Error::new(format!("Read-only block node '{name}' cannot support read-write users")));
        }
        match option.raw_options() {
            Some(options) => node.reopen(options),
            None => {
                let below = |name: &str| self.find(name)?.device.clone().map(|node| node as _);
                let medium = option.open(&below)?;
                if medium.len() != node.len() && entry.taken {
                    return Err(Error::new(format!(
                        "Node '{name}' cannot change its size while it is in use"
                    )));
                }
                *node.at_rest() = medium;
                Ok(())
            }
        }
    }

    /// Notes which device has a drive, by the device's path.
    pub fn set_user(&mut self, id: &str, path: &str) {
        if let Some(drive) = self.drives.iter_mut().find(|drive| drive.id == id) {
            drive.user = Some(path.to_owned());
        }
    }

    /// Forgets a drive or node.
    pub fn remove(&mut self, id: &str) {
        self.drives.retain(|drive| drive.id != id);
    }

    /// All of them in the order of the command line.
    pub fn iter(&self) -> impl Iterator<Item = &Drive> {
        self.drives.iter()
    }

    /// The complaint about a drive that has a place which no part of the machine has taken.
    pub fn unsupported(&self) -> Option<String> {
        let drive =
            self.drives.iter().find(|drive| !drive.taken && drive.interface != DriveInterface::None)?;
        let Drive { interface, bus, unit, .. } = drive;
        Some(format!("machine type does not support if={interface},bus={bus},unit={unit}"))
    }

    /// Writes all temporary changes back (`commit all`, Ctrl-A s).
    ///
    /// # Errors
    /// The first that fails; the others are tried too.
    pub fn commit_all(&self) -> Result<(), Error> {
        let mut result = Ok(());
        for device in self.drives.iter().filter_map(|drive| drive.device.as_ref()) {
            result = result.and(device.commit());
        }
        result
    }
}

fn made_up_id(interface: DriveInterface, cdrom: bool, bus: u32, unit: u32) -> String {
    let media = if cdrom { "-cd" } else { "" };
    match (interface.units_per_bus(), interface) {
        (0, _) => format!("{interface}{media}{unit}"),
        (_, _) => format!("{interface}{bus}{}{unit}", if cdrom { "-cd" } else { "-hd" }),
    }
}
