//! A request that no client library makes: a commit whose metadata are any bytes.

use std::io::{Read, Write};
use std::net::TcpStream;

use crate::kafka::{Kafka, PATIENCE};

/// `OffsetCommit` in version 2, the oldest that Kafka 4 takes.
const OFFSET_COMMIT: [u8; 4] = [0, 8, 0, 2];

impl Kafka {
    /// Commits an offset with these bytes beside it, for a group without members.
    pub fn commit_bytes(&self, group: &str, topic: &str, partition: i32, offset: i64, metadata: &[u8]) {
        let mut request = OFFSET_COMMIT.to_vec();
        request.extend(7i32.to_be_bytes());
        string(&mut request, b"tests");
        string(&mut request, group.as_bytes());
        // No generation, no member, and the broker's own retention.
        request.extend((-1i32).to_be_bytes());
        string(&mut request, b"");
        request.extend((-1i64).to_be_bytes());
        request.extend(1i32.to_be_bytes());
        string(&mut request, topic.as_bytes());
        request.extend(1i32.to_be_bytes());
        request.extend(partition.to_be_bytes());
        request.extend(offset.to_be_bytes());
        string(&mut request, metadata);

        let mut stream = TcpStream::connect(self.address()).expect("a connection to the broker");
        stream.set_read_timeout(Some(PATIENCE)).expect("a time-out");
        stream.write_all(&(request.len() as u32).to_be_bytes()).expect("the request's length");
        stream.write_all(&request).expect("the request");
        let mut length = [0; 4];
        stream.read_exact(&mut length).expect("the answer's length");
        let mut answer = vec![0; u32::from_be_bytes(length) as usize];
        stream.read_exact(&mut answer).expect("the answer");
        // Its last two bytes are the error code of the last partition, and there is one.
        assert_eq!(answer.last_chunk(), Some(&[0, 0]), "the commit was refused: {answer:?}");
    }
}

/// Its length in two bytes, then its bytes.
fn string(request: &mut Vec<u8>, bytes: &[u8]) {
    let length = i16::try_from(bytes.len()).expect("a short string");
    request.extend(length.to_be_bytes());
    request.extend(bytes);
}
