use super::*;
use JobStatus::{Aborting, Concluded, Created, Null, Paused, Pending, Ready, Running, Standby, Waiting};

const STATES: [JobStatus; 10] =
    [Created, Running, Paused, Ready, Standby, Waiting, Pending, Aborting, Concluded, Null];

fn job(jobs: &Jobs, id: &str) -> Result<Arc<Job>> {
    let manners = Manners { auto_finalize: true, auto_dismiss: false, at_once: false };
    jobs.create(id.into(), JobType::Backup, manners, true, 0, None)
}

#[test]
fn names_are_checked_and_taken_once() {
    let jobs = Jobs::default();
    let refusal = |id: &str| job(&jobs, id).err().map(|e| e.to_string()).unwrap_or_default();
    assert_eq!(refusal("1k"), "Invalid job ID '1k'");
    assert_eq!(refusal("a b"), "Invalid job ID 'a b'");
    assert_eq!(refusal("a-1._"), "");
    assert_eq!(refusal("a-1._"), "Job ID 'a-1._' already in use");
    jobs.discard(&jobs.find("a-1._").unwrap());
    assert!(jobs.all().is_empty());
}

/// From each state, verbs lead only to where the table allows, and every state can come to its end.
#[test]
fn every_state_has_a_way_out_and_none_comes_back_from_the_end() {
    for state in STATES {
        let out = STATES.iter().filter(|to| state.may_become(**to)).count();
        assert_eq!(out == 0, state == Null, "{state:?}");
        assert_eq!(Verb::Dismiss.allowed(state), state == Concluded);
        assert_eq!(Verb::Finalize.allowed(state), state == Pending);
        assert_eq!(Verb::Complete.allowed(state), state == Ready);
        assert_eq!(Verb::Cancel.allowed(state), !matches!(state, Aborting | Concluded | Null), "{state:?}");
    }
}

#[test]
fn a_worker_waits_while_its_job_is_paused() {
    let jobs = Jobs::default();
    let job = job(&jobs, "j").unwrap();
    job.set(Running);
    job.pause().unwrap();
    assert_eq!(job.standing().status, Paused);
    assert_eq!(job.pause().unwrap_err().to_string(), "Job is already paused");
    std::thread::scope(|scope| {
        let worker = scope.spawn(|| job.checkpoint().is_ok());
        std::thread::sleep(Duration::from_millis(20));
        assert!(!worker.is_finished());
        job.resume().unwrap();
        assert!(worker.join().unwrap());
    });
    assert_eq!(job.resume().unwrap_err().to_string(), "Can't resume a job that was not paused");
    job.set_ready();
    job.pause().unwrap();
    assert_eq!(job.standing().status, Standby);
    let text = job.complete().unwrap_err().to_string();
    assert_eq!(text, "Job 'j' in state 'standby' cannot accept command verb 'complete'");
    job.resume().unwrap();
    job.complete().unwrap();
    assert!(job.wait_ready());
}

#[test]
fn the_speed_holds_a_worker_back_until_it_is_changed() {
    let jobs = Jobs::default();
    let job = job(&jobs, "j").unwrap();
    job.set(Running);
    job.pace(1 << 40);
    job.set_speed(1).unwrap();
    std::thread::scope(|scope| {
        let worker = scope.spawn(|| job.pace(1000));
        std::thread::sleep(Duration::from_millis(20));
        assert!(!worker.is_finished());
        job.set_speed(0).unwrap();
        worker.join().unwrap();
    });
    // An error at which the job is to wait.
    job.met_error(IoOperationType::Write, BlockErrorAction::Stop, true);
    let standing = job.standing();
    assert_eq!((standing.status, standing.io_status), (Paused, BlockDeviceIoStatus::Nospace));
    job.resume().unwrap();
    assert_eq!(job.standing().io_status, BlockDeviceIoStatus::Ok);
}
