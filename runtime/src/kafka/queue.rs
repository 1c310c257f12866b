//! One partition's fetch queue.
#![allow(unsafe_code)] // librdkafka's C interface; each block says why it is sound.

use std::ffi::{CStr, CString, c_char, c_void};
use std::ptr::{self, NonNull};
use std::slice;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::Thread;

use rdkafka::bindings as sys;
use rdkafka::bindings::rd_kafka_resp_err_t::{RD_KAFKA_RESP_ERR__PARTITION_EOF, RD_KAFKA_RESP_ERR_NO_ERROR};
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::types::RDKafkaErrorCode;

use crate::record::Record;

/// Rings when a queue is no longer empty: remembers it and wakes the polling thread.
#[derive(Debug)]
pub struct Bell {
    rung: AtomicBool,
    thread: Thread,
}

impl Bell {
    /// A bell that wakes `thread`; it begins rung, so that the first look is taken.
    pub fn new(thread: Thread) -> Arc<Bell> {
        Arc::new(Bell { rung: AtomicBool::new(true), thread })
    }

    /// Wakes the thread.
    pub fn ring(&self) {
        self.rung.store(true, Ordering::Release);
        self.thread.unpark();
    }

    /// Whether it rang since the last call.
    pub fn answer(&self) -> bool {
        self.rung.swap(false, Ordering::Acquire)
    }
}

/// What a partition's queue holds.
#[derive(Debug)]
pub enum Item {
    /// A record.
    Record(Record),
    /// Everything up to the end of the partition, control records included, was delivered.
    End,
    /// The partition's own error, such as an offset that is out of range, with what librdkafka says of it.
    Error(RDKafkaErrorCode, String),
}

/// The fetch queue of one partition of one consumer, no longer forwarded to the
/// consumer's queue.
pub struct PartitionQueue<C: ConsumerContext> {
    queue: NonNull<sys::rd_kafka_queue_t>,
    bell: Arc<Bell>,
    /// The queue belongs to this client and must go before it.
    _consumer: Arc<BaseConsumer<C>>,
}

// SAFETY: rd_kafka_queue_t is reference counted and locked inside librdkafka, and
// its functions may be called from any thread.
unsafe impl<C: ConsumerContext> Send for PartitionQueue<C> {}

impl<C: ConsumerContext> PartitionQueue<C> {
    /// Takes the partition's queue out of the consumer's. To be called before the
    /// partition is assigned, so that no record takes the other way. `bell` rings
    /// when the queue fills. `None` if the topic's name holds a NUL.
    pub fn split(consumer: &Arc<BaseConsumer<C>>, topic: &str, partition: i32, bell: Arc<Bell>) -> Option<Self> {
        unsafe extern "C" fn ring(_: *mut sys::rd_kafka_t, bell: *mut c_void) {
            // SAFETY: the pointer is the Arc that the queue holds until the callback is disabled.
            unsafe { &*bell.cast::<Bell>() }.ring();
        }
        let topic = CString::new(topic).ok()?;
        // SAFETY: the client outlives the queue (held in `_consumer`); the callback's
        // argument outlives its registration (held in `bell`, disabled in `drop`).
        unsafe {
            let queue = NonNull::new(sys::rd_kafka_queue_get_partition(
                consumer.client().native_ptr(),
                topic.as_ptr(),
                partition,
            ))?;
            sys::rd_kafka_queue_forward(queue.as_ptr(), ptr::null_mut());
            sys::rd_kafka_queue_cb_event_enable(queue.as_ptr(), Some(ring), Arc::as_ptr(&bell).cast_mut().cast());
            Some(PartitionQueue { queue, bell, _consumer: consumer.clone() })
        }
    }

    /// Whether the queue may hold something that was not read yet.
    pub fn bell(&self) -> &Bell {
        &self.bell
    }

    /// Takes up to `limit` items without waiting and hands each to `each`. Returns
    /// how many there were; fewer than `limit` means that the queue is empty, and
    /// the bell rings when it no longer is.
    ///
    /// One event at a time, although librdkafka has a call for a whole batch:
    /// `rd_kafka_consume_batch_queue` counts an end-of-partition at offset N as a
    /// message and moves the position to N + 1. At the next rebalance the fetch
    /// goes on there, out of range, or past a record that was written meanwhile
    /// (`rd_kafka_q_serve_rkmessages`, librdkafka 2.12.1).
    pub fn read(&mut self, limit: usize, mut each: impl FnMut(Item)) -> usize {
        for count in 0..limit {
            // SAFETY: each event is ours until it is destroyed; a message belongs to its event.
            unsafe {
                let event = sys::rd_kafka_queue_poll(self.queue.as_ptr(), 0);
                if event.is_null() {
                    return count;
                }
                match sys::rd_kafka_event_type(event) {
                    sys::RD_KAFKA_EVENT_FETCH => {
                        // Null for a control record: it moves the position, and nobody handles it.
                        if let Some(message) = sys::rd_kafka_event_message_next(event).as_ref() {
                            each(item(message));
                        }
                    }
                    sys::RD_KAFKA_EVENT_ERROR => each(error(event)),
                    // No other kind comes to a partition's queue.
                    _ => {}
                }
                sys::rd_kafka_event_destroy(event);
            }
        }
        limit
    }
}

impl<C: ConsumerContext> Drop for PartitionQueue<C> {
    fn drop(&mut self) {
        // SAFETY: disabling takes the queue's lock, so that no callback runs afterwards;
        // then our reference is given back.
        unsafe {
            sys::rd_kafka_queue_cb_event_enable(self.queue.as_ptr(), None, ptr::null_mut());
            sys::rd_kafka_queue_destroy(self.queue.as_ptr());
        }
    }
}

/// Copies a message out.
///
/// # Safety
/// The message must be one that librdkafka handed out and that was not destroyed.
unsafe fn item(message: &sys::rd_kafka_message_t) -> Item {
    if message.err != RD_KAFKA_RESP_ERR_NO_ERROR {
        return Item::Error(message.err.into(), RDKafkaErrorCode::from(message.err).to_string());
    }
    // SAFETY: pointers and lengths of key and payload belong together and live as
    // long as the message; the same holds for its headers.
    unsafe {
        let mut kind = sys::rd_kafka_timestamp_type_t::RD_KAFKA_TIMESTAMP_NOT_AVAILABLE;
        let timestamp = sys::rd_kafka_message_timestamp(message, &mut kind);
        let timestamp = (kind != sys::rd_kafka_timestamp_type_t::RD_KAFKA_TIMESTAMP_NOT_AVAILABLE).then_some(timestamp);
        let mut headers = ptr::null_mut();
        let found = sys::rd_kafka_message_headers(message, &mut headers) == RD_KAFKA_RESP_ERR_NO_ERROR;
        let count = if found { sys::rd_kafka_header_cnt(headers) } else { 0 };
        Item::Record(Record::new(
            message.offset,
            timestamp,
            bytes(message.key, message.key_len),
            bytes(message.payload, message.len),
            (0..count).map(|index| header(headers, index)),
        ))
    }
}

/// # Safety
/// The event must be an error that librdkafka handed out and that was not destroyed.
unsafe fn error(event: *mut sys::rd_kafka_event_t) -> Item {
    // SAFETY: as the caller promises; the text lives as long as the event.
    unsafe {
        match sys::rd_kafka_event_error(event) {
            RD_KAFKA_RESP_ERR__PARTITION_EOF => Item::End,
            code => {
                let text = sys::rd_kafka_event_error_string(event);
                let text =
                    if text.is_null() { String::new() } else { CStr::from_ptr(text).to_string_lossy().into_owned() };
                Item::Error(code.into(), text)
            }
        }
    }
}

/// # Safety
/// `headers` must be valid and hold more than `index`.
unsafe fn header<'a>(headers: *const sys::rd_kafka_headers_t, index: usize) -> (&'a [u8], Option<&'a [u8]>) {
    let (mut name, mut value, mut size) = (ptr::null::<c_char>(), ptr::null(), 0);
    // SAFETY: librdkafka fills all three for an index below the count, and ends names with a NUL.
    unsafe {
        sys::rd_kafka_header_get_all(headers, index, &mut name, &mut value, &mut size);
        let name = if name.is_null() { &[] } else { CStr::from_ptr(name).to_bytes() };
        (name, bytes(value, size))
    }
}

/// # Safety
/// `start` must be null or point to `len` bytes that live for `'a`.
unsafe fn bytes<'a>(start: *const c_void, len: usize) -> Option<&'a [u8]> {
    // SAFETY: as the caller promises.
    (!start.is_null()).then(|| unsafe { slice::from_raw_parts(start.cast(), len) })
}
