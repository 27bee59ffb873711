//! Which machine a stream comes from.

use base::{Result, error};
use state::State;

/// What has to be alike for a machine to go on as another. It leads each stream and each snapshot.
#[derive(Clone, Debug, Default, PartialEq, Eq, State)]
#[state(name = "machine")]
pub struct Origin {
    /// The program and its version; not compared, since each section has a version of its own.
    pub program: String,
    /// Name of the machine (`-machine`).
    pub machine: String,
    /// The processor's model.
    pub cpu: String,
    /// What the model's options have made of it.
    pub isa: String,
    /// Number of processors.
    pub processors: u32,
    /// Blocks of memory: name and bytes.
    pub memory: Vec<(String, u64)>,
}

impl Origin {
    /// Refuses a stream from another kind of machine.
    ///
    /// # Errors
    /// Names the field that differs, with what it is there and here.
    pub fn check(&self, theirs: &Origin) -> Result<()> {
        let differs = |field: &str, there: &str, here: &str| {
            Err(error!(
                "field 'machine.{field}' differs: it is '{there}' in the saved state and '{here}' here"
            ))
        };
        for (field, here, there) in [
            ("machine", &self.machine, &theirs.machine),
            ("cpu", &self.cpu, &theirs.cpu),
            ("isa", &self.isa, &theirs.isa),
            ("processors", &self.processors.to_string(), &theirs.processors.to_string()),
        ] {
            if here != there {
                return differs(field, there, here);
            }
        }
        for (here, there) in self.memory.iter().zip(&theirs.memory) {
            if here.0 != there.0 {
                return differs("memory", &there.0, &here.0);
            }
            if here.1 != there.1 {
                return differs(
                    &format!("memory.{}", here.0),
                    &format!("{} bytes", there.1),
                    &format!("{} bytes", here.1),
                );
            }
        }
        let count = |origin: &Origin| format!("{} blocks", origin.memory.len());
        if self.memory.len() != theirs.memory.len() {
            return differs("memory", &count(theirs), &count(self));
        }
        Ok(())
    }
}
