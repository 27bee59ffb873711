//! Keys, mice and passwords of displays. No machine here has a keyboard, a mouse or a display: keys go nowhere, as in a
//! machine of QEMU's without them, and the rest is refused as there.

use super::{Command, Context, Kind, Qapi, Schema, Value, command};
use crate::hmp::{Number, Rest, Word};
use base::error::Class;
use base::{Result, error};

/// The commands of this file.
pub const COMMANDS: &[Command] = &[EXPIRE_PASSWORD, INPUT_SEND_EVENT, SEND_KEY, SET_PASSWORD];

/// The names of keys.
const KEYS: &str = "unmapped shift shift_r alt alt_r ctrl ctrl_r menu esc 1 2 3 4 5 6 7 8 9 0 minus equal backspace tab q w e \
    r t y u i o p bracket_left bracket_right ret a s d f g h j k l semicolon apostrophe grave_accent backslash z x c v b n m \
    comma dot slash asterisk spc caps_lock f1 f2 f3 f4 f5 f6 f7 f8 f9 f10 num_lock scroll_lock kp_divide kp_multiply \
    kp_subtract kp_add kp_enter kp_decimal sysrq kp_0 kp_1 kp_2 kp_3 kp_4 kp_5 kp_6 kp_7 kp_8 kp_9 less f11 f12 print home \
    pgup pgdn end left up down right insert delete stop again props undo front copy open paste find cut lf help meta_l meta_r \
    compose pause ro hiragana henkan yen muhenkan katakanahiragana kp_comma kp_equals power sleep wake audionext audioprev \
    audiostop audioplay audiomute volumeup volumedown mediaselect mail calculator computer ac_home ac_back ac_forward \
    ac_refresh ac_bookmarks lang1 lang2 f13 f14 f15 f16 f17 f18 f19 f20 f21 f22 f23 f24";

fn is_key(name: &str) -> bool {
    KEYS.split_whitespace().any(|key| key == name)
}

/// A key by its name.
#[derive(Debug)]
pub struct QKeyCode(String);

impl Qapi for QKeyCode {
    const KIND: Kind = Kind::String;
    fn describe(schema: &mut Schema) -> String {
        schema.enumeration("QKeyCode", &KEYS.split_whitespace().collect::<Vec<_>>())
    }
    fn from_json(value: Value, at: &str) -> Result<Self> {
        let name = String::from_json(value, at)?;
        if is_key(&name) {
            return Ok(QKeyCode(name));
        }
        Err(error!("Parameter '{at}' does not accept value '{name}'"))
    }
    fn to_json(&self) -> Value {
        self.0.as_str().into()
    }
}

/// The number of a key.
#[derive(Debug, Qapi)]
pub struct IntWrapper {
    data: i64,
}

/// The name of a key.
#[derive(Debug, Qapi)]
pub struct QKeyCodeWrapper {
    data: QKeyCode,
}

/// A key.
#[derive(Debug, Qapi)]
#[qapi(tag = "type")]
pub enum KeyValue {
    /// By number.
    Number(IntWrapper),
    /// By name.
    Qcode(QKeyCodeWrapper),
}

/// Presses keys, in their order, and lets them go.
#[command]
pub fn send_key(_: &mut Context<'_>, _keys: Vec<KeyValue>, _hold_time: Option<i64>) -> Result<()> {
    Ok(())
}

/// A key goes down or up.
#[derive(Debug, Qapi)]
pub struct InputKeyEvent {
    key: KeyValue,
    down: bool,
}

/// Buttons of a mouse.
#[derive(Clone, Copy, Debug, Qapi)]
#[allow(missing_docs, reason = "the names say it")]
pub enum InputButton {
    Left,
    Middle,
    Right,
    WheelUp,
    WheelDown,
    Side,
    Extra,
    WheelLeft,
    WheelRight,
    Touch,
}

/// A button goes down or up.
#[derive(Debug, Qapi)]
pub struct InputBtnEvent {
    button: InputButton,
    down: bool,
}

/// The axes.
#[derive(Clone, Copy, Debug, Qapi)]
#[allow(missing_docs, reason = "the names say it")]
pub enum InputAxis {
    X,
    Y,
}

/// Something moves.
#[derive(Debug, Qapi)]
pub struct InputMoveEvent {
    axis: InputAxis,
    value: i64,
}

/// What a finger does.
#[derive(Clone, Copy, Debug, Qapi)]
#[allow(missing_docs, reason = "the names say it")]
pub enum InputMultiTouchType {
    Begin,
    Update,
    End,
    Cancel,
    Data,
}

/// A finger.
#[derive(Debug, Qapi)]
pub struct InputMultiTouchEvent {
    #[qapi(name = "type")]
    kind: InputMultiTouchType,
    slot: i64,
    tracking_id: i64,
    axis: InputAxis,
    value: i64,
}

macro_rules! wrapped {
    ($($name:ident $data:ty;)*) => {$(
        /// What an event says.
        #[derive(Debug, Qapi)]
        pub struct $name {
            data: $data,
        }
    )*};
}

wrapped! {
    InputKeyEventWrapper InputKeyEvent;
    InputBtnEventWrapper InputBtnEvent;
    InputMoveEventWrapper InputMoveEvent;
    InputMultiTouchEventWrapper InputMultiTouchEvent;
}

/// An event of an input device.
#[derive(Debug, Qapi)]
#[qapi(tag = "type")]
pub enum InputEvent {
    /// A key.
    Key(InputKeyEventWrapper),
    /// A button.
    Btn(InputBtnEventWrapper),
    /// A way.
    Rel(InputMoveEventWrapper),
    /// A place.
    Abs(InputMoveEventWrapper),
    /// A finger.
    Mtt(InputMultiTouchEventWrapper),
}

/// Sends events to the guest's input devices, of which there must be some.
#[command]
pub fn input_send_event(
    context: &mut Context<'_>,
    device: Option<String>,
    _head: Option<i64>,
    events: Vec<InputEvent>,
) -> Result<()> {
    if let Some(device) = device {
        return Err(error!("Device '{device}' not found").class(Class::DeviceNotFound));
    }
    if context.vm.run_state() != cpu::RunState::Running {
        return Err(error!("VM not running"));
    }
    let kind = match events.first() {
        None => return Ok(()),
        Some(InputEvent::Key(_)) => "key",
        Some(InputEvent::Btn(_)) => "btn",
        Some(InputEvent::Rel(_)) => "rel",
        Some(InputEvent::Abs(_)) => "abs",
        Some(InputEvent::Mtt(_)) => "mtt",
    };
    Err(error!("Input handler not found for event type {kind}"))
}

/// What becomes of clients that are connected when the password changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Qapi)]
pub enum SetPasswordAction {
    /// They stay.
    Keep,
    /// The command fails.
    Fail,
    /// They are disconnected.
    Disconnect,
}

/// A display of a VNC server.
#[derive(Debug, Qapi)]
pub struct VncDisplay {
    display: Option<String>,
}

/// Which server of a display.
#[derive(Debug, Qapi)]
#[qapi(tag = "protocol")]
pub enum DisplayProtocol {
    /// VNC.
    Vnc(VncDisplay),
    /// SPICE.
    Spice,
}

/// A new password.
#[derive(Debug, Qapi)]
pub struct SetPasswordOptions {
    password: String,
    connected: Option<SetPasswordAction>,
    #[qapi(flatten)]
    server: DisplayProtocol,
}

/// When a password ends.
#[derive(Debug, Qapi)]
pub struct ExpirePasswordOptions {
    time: String,
    #[qapi(flatten)]
    server: DisplayProtocol,
}

fn no_server(server: &DisplayProtocol, what: &str) -> Result<()> {
    Err(match server {
        DisplayProtocol::Vnc(_) => error!("Could not set password{what}"),
        DisplayProtocol::Spice => error!("SPICE is not in use").class(Class::DeviceNotActive),
    })
}

/// Sets the password of a display's server.
#[command(name = "set_password", boxed)]
pub fn set_password(_: &mut Context<'_>, options: SetPasswordOptions) -> Result<()> {
    let keep = options.connected.is_none_or(|action| action == SetPasswordAction::Keep);
    if matches!(options.server, DisplayProtocol::Vnc(_)) && !keep {
        return Err(error!("parameter 'connected' must be 'keep' when 'protocol' is 'vnc'"));
    }
    no_server(&options.server, "")
}

/// Sets when such a password ends.
#[command(name = "expire_password", boxed)]
pub fn expire_password(_: &mut Context<'_>, options: ExpirePasswordOptions) -> Result<()> {
    no_server(&options.server, " expire time")
}

fn hmp_sendkey(_: &mut Context<'_>, (Word(keys), _): (Word, Option<Number>)) -> Result<()> {
    let number = |key: &str| key.strip_prefix("0x").is_some_and(|n| i64::from_str_radix(n, 16).is_ok());
    // A single less-than sign stands for the key between shift and z.
    match keys.split('-').find(|key| !(is_key(key) || number(key) || *key == "<")) {
        Some(unknown) => Err(crate::hmp::failed(error!("invalid parameter: {unknown}"))),
        None => Ok(()),
    }
}

fn hmp_mouse_move(_: &mut Context<'_>, _: (Word, Word, Option<Word>)) -> Result<()> {
    Ok(())
}

fn hmp_mouse_button(_: &mut Context<'_>, _: (Number,)) -> Result<()> {
    Ok(())
}

fn hmp_mouse_set(_: &mut Context<'_>, (Number(index),): (Number,)) -> Result<()> {
    Err(crate::hmp::refused(error!("Mouse at index '{index}' not found")))
}

/// The server that a person names.
fn protocol(name: &str) -> Result<DisplayProtocol> {
    match name {
        "vnc" => Ok(DisplayProtocol::Vnc(VncDisplay { display: None })),
        "spice" => Ok(DisplayProtocol::Spice),
        _ => Err(error!("invalid parameter value: {name}")),
    }
}

/// What is left of a line that sets a password: perhaps `-d display`, perhaps what becomes of clients.
fn connected(rest: &str) -> Result<Option<SetPasswordAction>> {
    let mut words = rest.split_whitespace();
    let word = match words.next() {
        Some("-d") => words.nth(1),
        word => word,
    };
    match word {
        None => Ok(None),
        Some("keep") => Ok(Some(SetPasswordAction::Keep)),
        Some("fail") => Ok(Some(SetPasswordAction::Fail)),
        Some("disconnect") => Ok(Some(SetPasswordAction::Disconnect)),
        Some(other) => Err(error!("invalid parameter value: {other}")),
    }
}

fn hmp_set_password(
    context: &mut Context<'_>,
    (Word(name), Word(password), Rest(rest)): (Word, Word, Rest),
) -> Result<()> {
    let options = protocol(&name)
        .and_then(|server| Ok(SetPasswordOptions { password, connected: connected(&rest)?, server }));
    options.and_then(|options| set_password(context, options)).map_err(crate::hmp::refused)
}

fn hmp_expire_password(
    context: &mut Context<'_>,
    (Word(name), Word(time), _): (Word, Word, Rest),
) -> Result<()> {
    let options = protocol(&name).map(|server| ExpirePasswordOptions { time, server });
    options.and_then(|options| expire_password(context, options)).map_err(crate::hmp::refused)
}

crate::hmp_rows! {
    /// The commands for people.
    HMP {
        "expire_password" hmp_expire_password, (Word, Word, Rest), "protocol time [-d display]", "set spice/vnc password expire-time";
        "mouse_button" hmp_mouse_button, (Number), "state", "change mouse button state (1=L, 2=M, 4=R)";
        "mouse_move" hmp_mouse_move, (Word, Word, Option<Word>), "dx dy [dz]", "send mouse move events";
        "mouse_set" hmp_mouse_set, (Number), "index", "set which mouse device receives events";
        "sendkey" hmp_sendkey, (Word, Option<Number>), "keys [hold_ms]", "send keys to the VM (e.g. 'sendkey ctrl-alt-f1', default hold time=100 ms)";
        "set_password" hmp_set_password, (Word, Word, Rest), "protocol password [-d display] [action-if-connected]", "set spice/vnc password";
    }
}
