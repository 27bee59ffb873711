//! All drives and block nodes of a machine, by name and by place.

use std::sync::Arc;

use super::stats::{BlockStats, Counted};
use super::{BlockDevice, BlockdevOption, DriveInterface, DriveOption};
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
    /// The medium; `None` if there is none.
    pub device: Option<Arc<dyn BlockDevice>>,
    /// Some device has it.
    pub taken: bool,
    /// What has passed between that device and the medium.
    pub stats: Arc<BlockStats>,
    /// The path of that device in the object tree, once it has one.
    pub user: Option<String>,
    /// The path of the image, if there is one.
    file: Option<String>,
    /// The format: `raw`, or the driver's name.
    format: String,
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
    pub fn node_name(&self) -> String {
        if self.option.is_some() { format!("#{}", self.id) } else { self.id.clone() }
    }
}

/// All drives (`-drive`) and nodes (`-blockdev`).
#[derive(Default)]
pub struct Blocks {
    drives: Vec<Drive>,
}

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
        let stats = Arc::<BlockStats>::default();
        let device = option.open(notice)?.map(|device| Counted::over(device, &stats));
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
            stats,
            user: None,
        });
        Ok(id)
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
        let stats = Arc::<BlockStats>::default();
        let device = Counted::over(option.open(&|name| self.find(name)?.device.clone())?, &stats);
        let file = match option.below() {
            Some(below) => self.find(below).and_then(|node| node.file.clone()),
            None => option.filename().map(str::to_owned),
        };
        self.drives.push(Drive {
            id,
            interface: DriveInterface::None,
            bus: 0,
            unit: 0,
            option: None,
            device: Some(device),
            taken: false,
            stats,
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
