use object::{AnyDevice, DeviceCell, ResetCause};

use super::*;

#[test]
fn commands() {
    let cell = DeviceCell::new(SifiveTest::new());
    assert!(matches!(
        cell.write(0, 0, 4, 0x5555),
        Effect::Shutdown { cause: ShutdownCause::GuestShutdown, status: 0 }
    ));
    assert!(matches!(
        cell.write(0, 0, 4, 0x0001_5555),
        Effect::Shutdown { cause: ShutdownCause::GuestShutdown, status: 1 }
    ));
    assert!(matches!(
        cell.write(0, 0, 4, 0x002a_3333),
        Effect::Shutdown { cause: ShutdownCause::GuestPanic, status: 42 }
    ));
    assert!(matches!(cell.write(0, 0, 4, 0x7777), Effect::Reset { cause: ResetCause::GuestReset }));
    assert!(cell.write(0, 0, 4, 0x1234).is_none());
    assert!(cell.write(0, 4, 4, 0x5555).is_none());
    assert_eq!(cell.read(0, 0, 4), 0);
}
