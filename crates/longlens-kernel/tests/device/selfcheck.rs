//! What `longlens doctor` shows of a device.

use longlens_kernel::selfcheck;

use crate::{Gpu, gpu, is_absent};

#[test]
fn a_device_finds_nothing_wrong_with_itself() {
    if is_absent() {
        return;
    }
    for checked in selfcheck::check::<Gpu>(&gpu()) {
        assert!(checked.is_right() && !checked.body.is_reference(), "{checked:?}");
    }
}
