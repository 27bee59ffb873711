use super::*;
use object::AnyDevice;

#[test]
fn common() {
    let device: Arc<dyn AnyDevice> = DeviceCell::new(Mxfc::default());
    object::check::check_device(&device, 1, 300).unwrap();
}
