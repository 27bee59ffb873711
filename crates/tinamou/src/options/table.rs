//! All options of the reference's `-h`, each with its standing here.

use base::{Result, error};

/// Whether an option takes an argument.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arg {
    /// It takes none.
    No,
    /// It takes one, in the next word.
    Yes,
}

/// What an option does here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It does what it says.
    Works,
    /// It is taken and has no effect, because what it concerns does not exist here or is always so.
    Accepted,
    /// It is known and refused.
    Missing,
}

/// One option.
#[derive(Debug)]
pub struct Row {
    /// Its words, without the dash; the first is the name under which the rest of the program knows it.
    pub words: &'static [&'static str],
    /// Its argument.
    pub arg: Arg,
    /// What it does.
    pub standing: Standing,
    /// Lines of `-h`: the syntax, a tab, what it is for. Empty: not listed.
    pub help: &'static str,
}

macro_rules! options {
    ($($section:literal { $($standing:ident $arg:ident $($word:literal)|+ $($help:literal)*;)* })*) => {
        /// All options in sections, in the order of `-h`.
        pub const OPTIONS: &[(&str, &[Row])] = &[$(($section, &[$(Row {
            words: &[$($word),+],
            arg: Arg::$arg,
            standing: Standing::$standing,
            help: concat!("", $($help, "\n"),*),
        }),*])),*];
    };
}

options! {
    "Standard options" {
        Works No "h" | "help" "-h or -help\tdisplay this help and exit";
        Works No "version" "-version\tdisplay version information and exit";
        Works Yes "machine" | "M" "-machine [type=]name[,prop[=value][,...]]\tselects emulated machine ('-machine help' for list)";
        Works Yes "cpu" "-cpu cpu\tselect CPU ('-cpu help' for list)";
        Works Yes "accel" "-accel [accel=]accelerator[,prop[=value][,...]]\tselect accelerator (use 'help' for a list)";
        Works Yes "smp" "-smp [[cpus=]n][,maxcpus=maxcpus][,sockets=sockets][,cores=cores][,threads=threads]\tset the number of initial CPUs to 'n' [default=1]";
        Missing Yes "numa";
        Works Yes "add-fd" "-add-fd fd=fd,set=set[,opaque=opaque]\tadd 'fd' to fd 'set'";
        Works Yes "set" "-set group.id.arg=value\tset <arg> parameter for item <id> of type <group>\n\ti.e. -set drive.$id.file=/path/to/image";
        Works Yes "global" "-global driver.property=value\n-global driver=driver,property=property,value=value\tset a global default for a driver property";
        Works Yes "boot" "-boot [order=drives][,once=drives][,menu=on|off]\taccepted; the boot order is the firmware's own";
        Works Yes "m" "-m [size=]megs[,slots=n,maxmem=size]\tconfigure guest RAM (default: 128M)";
        Works Yes "mem-path" "-mem-path FILE\tprovide backing storage for guest RAM";
        Accepted No "mem-prealloc";
        Accepted Yes "k";
        Works Yes "audio";
        Works Yes "audiodev" "-audiodev [driver=]none,id=id\tno sound: nothing else exists here";
        Works Yes "device" "-device driver[,prop[=value][,...]]\tadd device (based on driver); use '-device help' to print all\n\tpossible drivers and '-device driver,help' its properties";
        Works Yes "name" "-name string1[,process=string2][,debug-threads=on|off]\tset the name of the guest";
        Works Yes "uuid" "-uuid %08x-%04x-%04x-%04x-%012x\tspecify machine UUID";
    }
    "Block device options" {
        Missing Yes "fda";
        Missing Yes "fdb";
        Works Yes "hda";
        Works Yes "hdb" "-hda/-hdb file\tuse 'file' as hard disk 0/1 image";
        Works Yes "hdc";
        Works Yes "hdd" "-hdc/-hdd file\tuse 'file' as hard disk 2/3 image";
        Missing Yes "cdrom";
        Works Yes "blockdev" "-blockdev [driver=]driver[,node-name=N][,discard=ignore|unmap]\n          [,cache.direct=on|off][,cache.no-flush=on|off]\n          [,read-only=on|off][,auto-read-only=on|off]\n          [,driver specific parameters...]\tconfigure a block backend";
        Works Yes "drive" "-drive [file=file][,if=type][,unit=m][,index=i][,id=name][,format=f]\n       [,snapshot=on|off][,readonly=on|off][,cache=mode]\tuse 'file' as a drive image";
        Missing Yes "mtdblock";
        Missing Yes "sd";
        Works No "snapshot" "-snapshot\twrite to temporary storage instead of disk image files";
        Missing Yes "fsdev";
        Missing Yes "virtfs";
        Missing Yes "iscsi";
    }
    "USB convenience options" {
        Missing No "usb";
        Missing Yes "usbdevice";
    }
    "Display options" {
        Works Yes "display" "-display none\tno display: nothing else exists here";
        Works No "nographic" "-nographic\tdisable graphical output and redirect serial I/Os to console";
        Missing Yes "spice";
        Works Yes "vga";
        Accepted No "full-screen";
        Missing Yes "vnc";
        Missing No "curses";
    }
    "Network options" {
        Works Yes "netdev" "-netdev user,id=str[,net=addr[/mask]][,host=addr][,restrict=on|off][,hostname=host]\n         [,dhcpstart=addr][,dns=addr][,hostfwd=rule]\tconfigure a user mode network backend with ID 'str'";
        Works Yes "nic" "-nic none\tuse it alone to have zero network devices";
        Works Yes "net";
    }
    "Character device options" {
        Works Yes "chardev" "-chardev help\n-chardev null,id=id[,mux=on|off][,logfile=PATH]\n-chardev socket,id=id[,host=host],port=port[,server=on|off][,wait=on|off][,mux=on|off]\n-chardev socket,id=id,path=path[,server=on|off][,wait=on|off][,mux=on|off]\n-chardev file,id=id,path=path[,mux=on|off]\n-chardev pty,id=id[,path=path][,mux=on|off]\n-chardev stdio,id=id[,mux=on|off][,signal=on|off]\n-chardev serial,id=id,path=path[,mux=on|off]";
    }
    "TPM device options" {
        Missing Yes "tpmdev";
    }
    "Boot Image or Kernel specific" {
        Works Yes "bios" "-bios file\tset the filename for the BIOS; 'none' for no firmware, 'builtin' for the SBI that is part of this program";
        Works Yes "pflash" "-pflash file\tuse 'file' as a parallel flash image";
        Works Yes "kernel" "-kernel image\tuse 'image' as kernel image";
        Missing Yes "shim";
        Works Yes "append" "-append cmdline\tuse 'cmdline' as kernel command line";
        Works Yes "initrd" "-initrd file\tuse 'file' as initial ram disk";
        Works Yes "dtb" "-dtb    file\tuse 'file' as device tree image";
    }
    "Debug/Expert options" {
        Accepted Yes "compat";
        Works Yes "fw_cfg" "-fw_cfg [name=]<name>,file=<file>\tadd named fw_cfg entry with contents from file\n-fw_cfg [name=]<name>,string=<str>\tadd named fw_cfg entry with contents from string";
        Works Yes "serial" "-serial dev\tredirect the serial port to char device 'dev'";
        Works Yes "parallel";
        Works Yes "monitor" "-monitor dev\tredirect the monitor to char device 'dev'";
        Works Yes "qmp" "-qmp dev\tlike -monitor but opens in 'control' mode";
        Works Yes "qmp-pretty" "-qmp-pretty dev\tlike -qmp but uses pretty JSON formatting";
        Works Yes "mon" "-mon [chardev=]name[,mode=readline|control][,pretty[=on|off]]\tattach a monitor to a character device";
        Missing Yes "debugcon";
        Works Yes "pidfile" "-pidfile file\twrite PID to 'file'";
        Works No "preconfig" "-preconfig\tpause QEMU before machine is initialized (experimental)";
        Works No "S" "-S\tfreeze CPU at startup (use 'c' to start execution)";
        Works Yes "overcommit" "-overcommit [mem-lock=on|off][cpu-pm=on|off]\taccepted; memory is not locked";
        Works Yes "gdb" "-gdb dev\taccept gdb connection on 'dev'. (The guest starts without waiting\n\tfor gdb to connect; use -S too if you want it to not start execution.)";
        Works No "s" "-s\tshorthand for -gdb tcp::1234";
        Works Yes "d" "-d item1,...\tenable logging of specified items (use '-d help' for a list of log items)";
        Works Yes "D" "-D logfile\toutput log to logfile (default stderr)";
        Works Yes "dfilter" "-dfilter range,..\tfilter debug output to range of addresses (useful for -d cpu,exec,etc..)";
        Works Yes "seed" "-seed number\tseed the pseudo-random number generator";
        Works Yes "L" "-L path\tset the directory for the BIOS";
        Works No "enable-kvm";
        Missing Yes "xen-domid";
        Missing No "xen-attach";
        Missing No "xen-domid-restrict";
        Works No "no-reboot" "-no-reboot\texit instead of rebooting";
        Works No "no-shutdown" "-no-shutdown\tstop before shutdown";
        Works Yes "action" "-action reboot=reset|shutdown\taction when guest reboots [default=reset]\n-action shutdown=poweroff|pause\taction when guest shuts down [default=poweroff]\n-action panic=pause|shutdown|exit-failure|none\taction when guest panics [default=shutdown]\n-action watchdog=reset|shutdown|poweroff|inject-nmi|pause|debug|none\taction when watchdog fires [default=reset]";
        Works Yes "loadvm" "-loadvm [tag|id]\tstart right away with a saved state (loadvm in monitor)";
        Works Yes "snapshots" "-snapshots dir\tkeep snapshots in a directory (default: beside the first disk's image)";
        Works No "daemonize" "-daemonize\tdaemonize after initializing";
        Missing Yes "option-rom";
        Works Yes "rtc" "-rtc [base=utc|localtime|<datetime>][,clock=host|rt|vm]\tset the RTC base and clock";
        Works Yes "icount" "-icount [shift=N|auto][,align=on|off][,sleep=on|off][,rr=record|replay,rrfile=<filename>[,rrsnapshot=<snapshot>]]\tcount instructions: each takes 2^N nanoseconds of the guest's clock;\n\trecord what comes from outside, or replay it";
        Works Yes "watchdog-action" "-watchdog-action reset|shutdown|poweroff|inject-nmi|pause|debug|none\taction when watchdog fires [default=reset]";
        Works Yes "echr" "-echr chr\tset terminal escape character instead of ctrl-a";
        Works Yes "incoming" "-incoming uri\twait for a machine to come from tcp:, unix:, file:, exec: or fd:\n-incoming defer\twait until the monitor says where it comes from (migrate_incoming)";
        Accepted No "only-migratable";
        Works No "nodefaults" "-nodefaults\tdon't create default devices";
        Missing No "semihosting";
        Missing Yes "semihosting-config";
        Works Yes "sandbox" "-sandbox on[,obsolete=allow|deny][,elevateprivileges=allow|deny|children]\n          [,spawn=allow|deny][,resourcecontrol=allow|deny]\tEnable seccomp mode 2 system call filter (default 'off').";
        Works Yes "readconfig" "-readconfig <file>\tread config file";
        Accepted No "no-user-config" "-no-user-config\tdo not load default user-provided config files (none are ever loaded)";
        Works Yes "trace" "-trace [[enable=]<pattern>][,events=<file>][,file=<file>]\tspecify tracing options";
        Works Yes "trace-out" "-trace-out <file>\twrite what is traced as a time line that Perfetto opens";
        Missing Yes "plugin";
        Works Yes "run-with" "-run-with [async-teardown=on|off][,chroot=dir][,user=username|uid:gid]\tset process lifecycle options";
        Works Yes "msg" "-msg [timestamp[=on|off]][,guest-name=[on|off]]\tcontrol error message format";
        Missing Yes "dump-vmstate";
        Accepted No "enable-sync-profile";
        Works No "perfmap" "-perfmap\tgenerate a /tmp/perf-${pid}.map file for perf";
        Works No "jitdump" "-jitdump\tgenerate a jit-${pid}.dump file for perf";
        Works Yes "qtest" "-qtest dev\tserve tests that play the processor on 'dev' (with -accel qtest nothing else does)";
        Accepted Yes "qtest-log";
    }
    "Generic object creation" {
        Works Yes "object" "-object TYPENAME[,PROP1=VALUE1,...]\tcreate a new object of type TYPENAME setting properties\n\tin the order they are specified. The 'id' property must be set.";
    }
}

/// An option that was given.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Given {
    /// Name in the table; `disk_image` for a word that is no option.
    pub name: &'static str,
    /// The argument; empty without one.
    pub value: String,
    /// As it was written, for messages.
    pub shown: String,
}

/// Splits the words of a command line into options with their arguments.
///
/// # Errors
/// An unknown option, an argument that is missing, an option that exists in the reference but not here; in the words
/// of the reference.
pub fn split(words: impl IntoIterator<Item = String>) -> Result<Vec<Given>> {
    let mut words = words.into_iter();
    let mut all = Vec::new();
    while let Some(word) = words.next() {
        let Some(name) = word.strip_prefix("--").or_else(|| word.strip_prefix('-')) else {
            all.push(Given { name: "disk_image", shown: word.clone(), value: word });
            continue;
        };
        let row = OPTIONS
            .iter()
            .flat_map(|(_, rows)| rows.iter())
            .find(|row| row.words.contains(&name))
            .ok_or_else(|| error!("{word}: invalid option"))?;
        let value = match row.arg {
            Arg::No => None,
            Arg::Yes => Some(words.next().ok_or_else(|| error!("{word}: requires an argument"))?),
        };
        let shown = match &value {
            Some(value) => format!("{word} {value}"),
            None => word.clone(),
        };
        if row.standing == Standing::Missing {
            return Err(error!("{shown}: this option is not supported by Tinamou yet"));
        }
        all.push(Given { name: row.words[0], value: value.unwrap_or_default(), shown });
    }
    Ok(all)
}

#[cfg(test)]
#[path = "table_test.rs"]
mod test;
