//! What a worker gives up before it looks at anything: files, network, programs, everything but memory within limits.
//!
//! Each measure stands alone, so that one that a kernel does not have leaves the others: no way to reach files (landlock), few
//! system calls (seccomp), limits on memory, files and processor time, no descriptors but those it needs.

use std::collections::BTreeMap;
use std::io;

use caps::CapSet;
use landlock::{ABI, Access, AccessFs, AccessNet, Ruleset, RulesetAttr, RulesetStatus, Scope};
use nix::libc;
use nix::sys::prctl;
use nix::sys::resource::{Resource, setrlimit};
use nix::sys::signal::{SigSet, Signal};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
    TargetArch, apply_filter,
};

use super::note::{Note, Tag};

/// Unpack for the daemon. It is started by the daemon, and by nobody else.
#[derive(Clone, Debug, PartialEq, Eq, clap::Args)]
pub struct Args {
    /// Memory that it may ask for, in bytes.
    #[arg(long)]
    pub memory: u64,
    /// Largest file that it may write, in bytes.
    #[arg(long)]
    pub file: u64,
    /// Processor time in all, in seconds.
    #[arg(long)]
    pub time: u64,
}

/// What could be given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Confined {
    /// No file can be opened: landlock.
    pub(super) files: bool,
    /// Only few system calls can be made: seccomp.
    pub(super) calls: bool,
    /// Memory, files and time are limited.
    pub(super) limits: bool,
}

impl Confined {
    pub(super) fn bits(self) -> u8 {
        u8::from(self.files) | u8::from(self.calls) << 1 | u8::from(self.limits) << 2
    }

    pub(super) fn from_bits(bits: u8) -> Confined {
        Confined { files: bits & 1 != 0, calls: bits & 2 != 0, limits: bits & 4 != 0 }
    }

    /// What this kernel does not have.
    pub(super) fn missing(self) -> Vec<&'static str> {
        let all = [(self.files, "landlock"), (self.calls, "seccomp"), (self.limits, "resource limits")];
        all.into_iter().filter(|(there, _)| !there).map(|(_, name)| name).collect()
    }
}

/// Gives up all that can be given up. It must be called while the process has one thread.
pub(super) fn enter(args: &Args) -> Confined {
    // Where one of these fails, the others hold: there is nothing better to do than to go on.
    let _ = prctl::set_pdeathsig(Signal::SIGKILL);
    let _ = prctl::set_dumpable(false);
    let _ = prctl::set_no_new_privs();
    // Who stops the daemon may mean all its processes. But while it drains it needs its workers, and they end with it.
    let calm = [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP, Signal::SIGQUIT];
    let _ = SigSet::from_iter(calm).thread_block();
    close_inherited();
    for set in [CapSet::Ambient, CapSet::Effective, CapSet::Inheritable, CapSet::Permitted] {
        let _ = caps::clear(None, set);
    }
    let limits = limit(args).is_ok();
    Confined { files: no_files().unwrap_or(false), limits, calls: few_calls().is_ok() }
}

/// Descriptors that the daemon itself was started with, and that nobody told to close. The socket and the pipe for errors stay,
/// and what this process has opened itself.
fn close_inherited() {
    let Ok(folder) = std::fs::read_dir("/proc/self/fd") else { return };
    let link = |entry: &std::fs::DirEntry| std::fs::read_link(entry.path()).unwrap_or_default();
    let open: Vec<(i32, std::path::PathBuf)> = folder
        .flatten()
        .filter_map(|entry| Some((entry.file_name().to_str()?.parse().ok()?, link(&entry))))
        .collect();
    for (descriptor, path) in open {
        // The folder that was listed is closed already.
        if descriptor > 2 && !path.ends_with("statm") {
            let _ = nix::unistd::close(descriptor);
        }
    }
}

fn limit(args: &Args) -> nix::Result<()> {
    /// Standard streams, statm, and the two files of a message; nothing can be opened beyond.
    const FILES: u64 = 6;
    for (resource, most) in [
        (Resource::RLIMIT_CORE, 0),
        (Resource::RLIMIT_NPROC, 0),
        (Resource::RLIMIT_NOFILE, FILES),
        (Resource::RLIMIT_FSIZE, args.file),
        (Resource::RLIMIT_CPU, args.time),
        // All that can be written to counts here, however it was asked for; what is mapped to be read does not.
        (Resource::RLIMIT_DATA, args.memory),
    ] {
        setrlimit(resource, most, most)?;
    }
    Ok(())
}

/// Landlock with nothing allowed: no file, no port, no abstract socket, no signal to others. False where the kernel has none.
fn no_files() -> Result<bool, landlock::RulesetError> {
    let status = Ruleset::default()
        .handle_access(AccessFs::from_all(ABI::V9))?
        .handle_access(AccessNet::from_all(ABI::V9))?
        .scope(Scope::from_all(ABI::V9))?
        .create()?
        .restrict_self()?;
    Ok(status.ruleset != RulesetStatus::NotEnforced)
}

/// Two filters, of which the stricter answer counts. What no unpacking has any business with kills the process, so that
/// whoever has taken it over is noticed. Anything else that is not on the list of what it needs is refused: a system's
/// library may try this and that, and lives with a no.
fn few_calls() -> Result<(), seccompiler::Error> {
    let arch: TargetArch = std::env::consts::ARCH.try_into()?;
    let deadly = DEADLY.iter().map(|call| (*call as i64, Vec::new())).collect();
    let deadly = SeccompFilter::new(deadly, SeccompAction::Allow, SeccompAction::KillProcess, arch)?;
    let refused = SeccompAction::Errno(libc::EPERM as u32);
    let needed = SeccompFilter::new(needed()?, refused, SeccompAction::Allow, arch)?;
    // Compiled before the first is in force, which would let the second be made, but better safe than sorry.
    let programs = [BpfProgram::try_from(deadly)?, BpfProgram::try_from(needed)?];
    programs.iter().try_for_each(|program| apply_filter(program))
}

/// Other programs, other processes, the network, the kernel itself.
const DEADLY: &[libc::c_long] = &[
    libc::SYS_execve,
    libc::SYS_execveat,
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_pidfd_open,
    libc::SYS_pidfd_getfd,
    libc::SYS_socket,
    libc::SYS_connect,
    libc::SYS_bind,
    libc::SYS_listen,
    libc::SYS_io_uring_setup,
    libc::SYS_bpf,
    libc::SYS_perf_event_open,
    libc::SYS_userfaultfd,
    libc::SYS_mount,
    libc::SYS_unshare,
    libc::SYS_setns,
    libc::SYS_keyctl,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_kexec_load,
];

/// Its socket and files, memory, locks, the clock, and a way to end.
fn needed() -> Result<BTreeMap<i64, Vec<SeccompRule>>, seccompiler::Error> {
    const FREE: &[libc::c_long] = &[
        libc::SYS_read,
        libc::SYS_pread64,
        libc::SYS_write,
        libc::SYS_writev,
        libc::SYS_recvmsg,
        libc::SYS_sendmsg,
        libc::SYS_close,
        libc::SYS_munmap,
        libc::SYS_mremap,
        libc::SYS_madvise,
        libc::SYS_brk,
        libc::SYS_futex,
        libc::SYS_sched_yield,
        libc::SYS_clock_gettime,
        libc::SYS_getrandom,
        libc::SYS_rt_sigaction,
        libc::SYS_rt_sigprocmask,
        libc::SYS_rt_sigreturn,
        libc::SYS_sigaltstack,
        libc::SYS_restart_syscall,
        libc::SYS_getpid,
        libc::SYS_gettid,
        libc::SYS_exit,
        libc::SYS_exit_group,
    ];
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> =
        FREE.iter().map(|call| (*call as i64, Vec::new())).collect();
    let masked = |argument, mask: libc::c_int, value: libc::c_int| {
        let equal = SeccompCmpOp::MaskedEq(mask as u64);
        SeccompCondition::new(argument, SeccompCmpArgLen::Dword, equal, value as u64)
    };
    // No memory that could be run, and none that is shared: that would count against no limit.
    let not_run = || masked(2, libc::PROT_EXEC, 0);
    let own = masked(3, libc::MAP_SHARED | libc::MAP_PRIVATE, libc::MAP_PRIVATE)?;
    rules.insert(libc::SYS_mmap as i64, vec![SeccompRule::new(vec![not_run()?, own])?]);
    rules.insert(libc::SYS_mprotect as i64, vec![SeccompRule::new(vec![not_run()?])?]);
    // Aborting is a signal to itself.
    let myself = u64::from(std::process::id());
    let own = SeccompCondition::new(0, SeccompCmpArgLen::Dword, SeccompCmpOp::Eq, myself)?;
    rules.insert(libc::SYS_tgkill as i64, vec![SeccompRule::new(vec![own])?]);
    Ok(rules)
}

/// Tries what a worker must not be able to do.
pub(super) fn probe(what: Tag) -> Note {
    let tried = match what {
        Tag::TryFile => std::fs::File::open("/etc/passwd").map(drop),
        Tag::TryNetwork => std::net::UdpSocket::bind("127.0.0.1:0").map(drop),
        Tag::TryProgram => match nix::unistd::execv(c"/bin/true", &[c"true"]) {
            Err(error) => Err(io::Error::from(error)),
        },
        _ => Err(io::ErrorKind::InvalidInput.into()),
    };
    Note::of(if tried.is_ok() { Tag::Allowed } else { Tag::Refused })
}
