//! Echoes what is typed, behind the multiplexer that `-serial mon:stdio` makes: to try the terminal's ways out.
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use backends::char::{CharContext, CharEvent, CharPort, CharReceiver, Chardevs, MuxActions, on_terminate};
use events::EventLoop;

struct Echo(Arc<dyn CharPort>, &'static str);

impl CharReceiver for Echo {
    fn room(&self) -> usize {
        16
    }
    fn receive(&self, bytes: &[u8]) {
        assert!(bytes != b"P", "a panic was asked for");
        if bytes == b"A" {
            std::process::abort();
        }
        self.0.write(format!("{}: {bytes:?}\n", self.1).as_bytes());
    }
    fn event(&self, event: CharEvent) {
        self.0.write(format!("{}: {event:?}\n", self.1).as_bytes());
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let option = std::env::args().nth(1).unwrap_or("mon:stdio".to_owned());
    let (events, mut runner) = EventLoop::new()?;
    let end = Arc::new(AtomicBool::new(false));
    let quit = Arc::clone(&end);
    let actions = Arc::new(MuxActions {
        quit: Box::new(move || quit.store(true, Ordering::Relaxed)),
        commit: Box::new(|| ()),
        escape: 1,
    });
    let context = CharContext {
        events: &events,
        actions: &actions,
        notice: &|text| eprintln!("console: {text}"),
        detached: false,
    };
    let terminated = Arc::clone(&end);
    let _watch = on_terminate(&events, move |termination| {
        eprintln!("console: {termination}");
        terminated.store(true, Ordering::Relaxed);
    })?;
    let mut chardevs = Chardevs::default();
    let Some(port) = chardevs.open_serial(&option, "serial0", &context)? else { return Ok(()) };
    port.set_receiver(Some(Arc::new(Echo(Arc::clone(&port), "console"))));
    if chardevs.mux("serial0").is_some() {
        let monitor = chardevs.front("serial0")?;
        monitor.set_receiver(Some(Arc::new(Echo(Arc::clone(&monitor), "monitor"))));
    }
    runner.run(|| end.load(Ordering::Relaxed))?;
    backends::char::flush_all();
    Ok(())
}
