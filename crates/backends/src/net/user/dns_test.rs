use super::*;

fn query(name: &str, kind: u16) -> Vec<u8> {
    let mut query = vec![0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in name.split('.') {
        query.push(label.len() as u8);
        query.extend(label.as_bytes());
    }
    query.push(0);
    query.extend(kind.to_be_bytes());
    query.extend([0, 1]);
    query
}

#[test]
fn the_host_knows_localhost() {
    let resolver = Resolver::new();
    let query = query("localhost", TYPE_A);
    let answer = resolver.answer(&query, false).unwrap();
    assert_eq!(answer[..2], query[..2]);
    assert_eq!(answer[2..8], [0x81, 0x80, 0, 1, 0, 1]);
    assert_eq!(answer[answer.len() - 4..], [127, 0, 0, 1]);
}

#[test]
fn nonsense_is_answered_or_dropped() {
    let resolver = Resolver::new();
    assert_eq!(resolver.answer(&[], false), None);
    let mut response = query("localhost", TYPE_A);
    response[2] |= 0x80;
    assert_eq!(resolver.answer(&response, false), None);
    let whole = query("localhost", TYPE_A);
    for len in 12..whole.len() {
        let answer = resolver.answer(&whole[..len], false).unwrap();
        assert_eq!((answer.len(), answer[3] & 15), (12, FORMAT_ERROR));
    }
    let mut looping = query("a", TYPE_A);
    looping[12] = 0xc0;
    assert_eq!(resolver.answer(&looping, false).unwrap()[3] & 15, FORMAT_ERROR);
}

#[test]
fn streams_are_served() {
    let resolver = Resolver::new();
    let mut stream = resolver.serve_stream().unwrap();
    stream.set_nonblocking(false).unwrap();
    let query = query("localhost", TYPE_A);
    for _ in 0..2 {
        stream.write_all(&(query.len() as u16).to_be_bytes()).unwrap();
        stream.write_all(&query).unwrap();
        let mut len = [0; 2];
        stream.read_exact(&mut len).unwrap();
        let mut answer = vec![0; usize::from(u16::from_be_bytes(len))];
        stream.read_exact(&mut answer).unwrap();
        assert_eq!(answer[..2], query[..2]);
    }
}
