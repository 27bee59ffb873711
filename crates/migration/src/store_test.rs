use super::*;

fn directory(name: &str) -> PathBuf {
    let path = std::env::temp_dir().join(format!("tinamou-store-{name}-{}", std::process::id()));
    let _ = fs::remove_dir_all(&path);
    path
}

fn save(store: &mut Store, tag: &str) -> u32 {
    let draft = store.begin().unwrap();
    let id = draft.id;
    fs::write(store.state_file(id), tag).unwrap();
    store.commit(draft, Entry::now(Some(tag), 5, vec![])).unwrap();
    id
}

#[test]
fn a_tag_is_replaced_and_deleted() {
    let path = directory("tags");
    let mut store = Store::new(path.clone());
    assert_eq!(store.entries().unwrap(), []);
    assert!(store.delete("a").is_err() && !path.exists());
    let first = save(&mut store, "a");
    let second = save(&mut store, "b");
    let third = save(&mut store, "a");
    let tags: Vec<_> = store.entries().unwrap().into_iter().map(|e| (e.id, e.tag)).collect();
    assert_eq!(tags, [(second, "b".to_owned()), (third, "a".to_owned())]);
    assert!(!store.state_file(first).exists() && store.state_file(third).exists());
    assert_eq!(store.delete("b").unwrap().id, second);
    assert!(!store.state_file(second).exists());
    assert_eq!(
        store.open("b").unwrap_err().to_string(),
        "Snapshot 'b' does not exist in one or more devices"
    );
    fs::remove_dir_all(path).unwrap();
}

#[test]
fn what_is_cut_off_leaves_the_old() {
    let path = directory("cut");
    let mut store = Store::new(path.clone());
    fs::create_dir_all(&path).unwrap();
    for other in ["2026.txt", "7.tar.state", "notes"] {
        fs::write(path.join(other), "somebody else's").unwrap();
    }
    let old = save(&mut store, "a");
    // Killed while the state was written, and while the index was.
    let draft = store.begin().unwrap();
    let id = draft.id;
    fs::write(store.state_file(id), "half").unwrap();
    fs::write(path.join("index.new"), "half").unwrap();
    drop(draft);
    let mut again = Store::new(path.clone());
    assert_eq!(again.entries().unwrap().iter().map(|e| e.id).collect::<Vec<_>>(), [old]);
    assert_eq!(fs::read(again.state_file(old)).unwrap(), b"a");
    // The next one takes the number over.
    assert_eq!(save(&mut again, "b"), id);
    assert_eq!(fs::read(again.state_file(id)).unwrap(), b"b");
    assert!(["2026.txt", "7.tar.state", "notes"].iter().all(|other| path.join(other).exists()));
    fs::remove_dir_all(path).unwrap();
}

#[test]
fn dates() {
    assert_eq!(utc(0), "1970-01-01 00:00:00");
    assert_eq!(utc(951_827_696), "2000-02-29 12:34:56");
    assert_eq!(utc(4_102_444_799), "2099-12-31 23:59:59");
}
