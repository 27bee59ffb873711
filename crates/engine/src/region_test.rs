use super::*;

const A: u64 = 0x1_0000;

/// Two turns of a loop of `n` instructions at `pc`, then on.
fn turns(pc: u64, n: u64, turns: usize) -> Vec<u64> {
    (0..turns).flat_map(|_| (0..n).map(move |i| pc + 4 * i)).collect()
}

fn chosen(trail: &[u64]) -> Vec<u64> {
    busiest_loop(trail, |_| false).unwrap_or_default()
}

#[test]
fn a_short_loop_is_followed_several_times() {
    let way = chosen(&turns(A, 6, 40));
    assert_eq!(way.len() - 1, UNROLLED / 6 * 6);
    assert_eq!((way[0], way[6], way.last()), (A, A, Some(&A)));
}

#[test]
fn a_steady_loop_is_followed_more_often() {
    let followed = |n: u64, times: usize| (chosen(&turns(A, n, times)).len() - 1) / n as usize;
    // A turn too long for the shorter way: twenty turns are five times as many as are followed.
    assert_eq!((followed(40, 20), followed(40, 12)), (4, 1));
    assert_eq!((followed(16, 60), followed(16, 30)), (10, 4));
    assert_eq!(followed(200, 7), 1, "longer than any of the limits");
}

#[test]
fn a_steady_loop_is_taken_with_the_loops_in_it() {
    // Three turns of five instructions in a loop of twenty-five.
    let mut trail = Vec::new();
    for _ in 0..12 {
        trail.extend(turns(A, 5, 1));
        trail.extend(turns(A + 40, 5, 3));
        trail.extend(turns(A + 80, 5, 1));
    }
    let way = chosen(&trail);
    assert_eq!(way[0], A);
    assert_eq!((way.len() - 1) % 25, 0);
}

#[test]
fn of_two_loops_that_are_worth_nearly_the_same_the_shorter_is_taken() {
    // Twenty turns of sixteen instructions in a loop of three more.
    let mut trail = Vec::new();
    for _ in 0..4 {
        trail.extend(turns(A, 3, 1));
        trail.extend(turns(A + 40, 16, 20));
    }
    assert_eq!(chosen(&trail)[0], A + 40);
}

#[test]
fn what_goes_on_for_longer_than_the_walk_sees_is_not_its_way() {
    // The inner loop takes a hundred turns: the outer one comes back too late.
    let mut trail = turns(A, 3, 1);
    trail.extend(turns(A + 40, 5, 100));
    assert_eq!(chosen(&trail)[0], A + 40);
}

#[test]
fn where_there_is_a_region_another_loop_is_looked_for() {
    let mut trail = Vec::new();
    for _ in 0..10 {
        trail.extend(turns(A, 5, 1));
        trail.extend(turns(A + 40, 20, 2));
    }
    let first = chosen(&trail)[0];
    let second = busiest_loop(&trail, |pc| pc == first).map(|way| way[0]);
    assert!(second.is_some_and(|pc| pc != first));
    assert_eq!(busiest_loop(&trail, |_| true), None);
    assert_eq!(busiest_loop(&turns(A, 500, 1), |_| false), None, "no loop at all");
}

#[test]
fn a_way_is_cut_where_it_leaves_a_page_and_the_next() {
    let way = [A + 0xff0, A + 0x1004, A + 0x2010, A + 0x2014, A + 0xff8, A + 0xff0];
    let (mut rest, mut cut) = (&way[..], Vec::new());
    while let Some(path) = part(rest) {
        rest = &rest[path.insns()..];
        cut.push((path.page - A, path.offsets));
    }
    assert_eq!(
        cut,
        [(0, vec![0xff0, 0x1004, ELSEWHERE]), (0x2000, vec![0x10, 0x14, ELSEWHERE]), (0, vec![0xff8, 0xff0]),]
    );
}

#[test]
fn a_loop_may_lie_in_two_pages_but_not_in_three() {
    let turn = |by: u64| [A + 0xff8, A + 0xffc, A + by, A + by + 4];
    assert_eq!(chosen(&turn(0x1000).repeat(100))[..4], turn(0x1000));
    assert_eq!(busiest_loop(&turn(0x2000).repeat(100), |_| false), None);
}

#[test]
fn whoever_is_seen_again_walks_but_not_for_ever() {
    let mut s = Sightings::default();
    let key = Key::new(CodePage { host: 0x7fff_0000_0000, wide: false }, 0x10, 0);
    let walks = (0..REMEMBERED).filter(|_| s.seen(key)).count();
    assert_eq!(walks, 4);
}

#[test]
fn whoever_is_seen_here_and_there_does_not_walk() {
    let mut s = Sightings::default();
    let key = |n: u32| Key::new(CodePage { host: 0x7fff_0000_0000, wide: false }, 2 * n as u16, 0);
    assert_eq!((0..4 * REMEMBERED).filter(|n| s.seen(key(n % (AT_ONCE + 1)))).count(), 0);
    assert!((0..4 * REMEMBERED).any(|n| s.seen(key(n % AT_ONCE))));
}

#[test]
fn a_loop_of_three_instructions_is_unrolled_although_an_entry_costs_more() {
    let mut trail = vec![A + 8];
    trail.extend(turns(A, 3, 100));
    assert_eq!(chosen(&trail).len() - 1, UNROLLED / 3 * 3);
}

#[test]
fn a_way_is_not_worth_more_because_the_trail_goes_it_once() {
    // Turns of six instructions, of which the last two differ from time to time, in a loop of two hundred and fifty.
    let (mut trail, mut random) = (Vec::new(), 1u64);
    for _ in 0..6 {
        for _ in 0..40 {
            random = random.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            trail.extend([A + 16, A + 20, A + 24, A + 28]);
            trail.extend(if random >> 60 == 0 { [A + 64, A + 68] } else { [A + 32, A + 36] });
        }
        trail.extend(turns(A + 40, 5, 1));
        trail.push(A);
    }
    let way = chosen(&trail);
    assert_eq!((way[0], way[5]), (A + 16, A + 36), "{} instructions", way.len());
    assert!(way.len() <= UNROLLED + 1);
}

/// A loop of a branch, two instructions past which it leads or not, and two more.
fn forked(skipped: impl Fn(u64) -> bool) -> Vec<u64> {
    let turn = |n: u64| {
        let past = if skipped(n) { vec![] } else { vec![A + 4, A + 8] };
        [vec![A], past, vec![A + 12, A + 16]].concat()
    };
    (0..100).flat_map(turn).collect()
}

#[test]
fn a_branch_past_plain_instructions_that_goes_either_way_is_a_choice() {
    let trail = forked(|n| n % 3 == 0);
    let found = skips(&trail, |_| true);
    assert_eq!(found.keys().collect::<Vec<_>>(), [&A]);
    let rest = without(&trail, &found);
    assert_eq!(&rest[..6], [A, A + 12, A + 16, A, A + 12, A + 16]);
    assert!(skips(&trail, |pc| pc != A + 8).is_empty(), "one of them is not plain");
    assert!(skips(&forked(|n| n % 20 == 0), |_| true).is_empty(), "it hardly ever leads past them");
    assert!(skips(&forked(|_| true), |_| true).is_empty(), "it always does");
}
