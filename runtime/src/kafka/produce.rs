//! Handing one record to a producer.
#![allow(unsafe_code)] // librdkafka's C interface; each block says why it is sound.

use std::ffi::{CString, c_void};
use std::ptr;

use rdkafka::ClientContext;
use rdkafka::bindings as sys;
use rdkafka::bindings::rd_kafka_vtype_t::*;
use rdkafka::client::Client;
use rdkafka::types::RDKafkaErrorCode;

/// Copies a record into the producer's queue. `token` comes back with the
/// delivery report. `None` is Kafka's null.
///
/// # Errors
/// As `rd_kafka_producev`: nothing was taken, and no report will come.
pub fn produce<'a, C: ClientContext>(
    producer: &Client<C>,
    topic: &str,
    key: Option<&[u8]>,
    value: Option<&[u8]>,
    headers: impl ExactSizeIterator<Item = (&'a [u8], Option<&'a [u8]>)>,
    token: usize,
) -> Result<(), RDKafkaErrorCode> {
    let Ok(topic) = CString::new(topic) else { return Err(RDKafkaErrorCode::InvalidTopic) };
    let (key, key_len) = raw(key);
    let (value, value_len) = raw(value);
    // SAFETY: the client lives while it is borrowed; every pointer
    // is good for the call, and librdkafka copies key, value and headers (F_COPY;
    // headers are owned by the message on success and destroyed here otherwise).
    unsafe {
        let list = sys::rd_kafka_headers_new(headers.len());
        for (name, content) in headers {
            let (content, content_len) = raw(content);
            sys::rd_kafka_header_add(list, name.as_ptr().cast(), name.len() as isize, content, content_len as isize);
        }
        let error = sys::rd_kafka_producev(
            producer.native_ptr(),
            RD_KAFKA_VTYPE_TOPIC,
            topic.as_ptr(),
            RD_KAFKA_VTYPE_MSGFLAGS,
            sys::RD_KAFKA_MSG_F_COPY,
            RD_KAFKA_VTYPE_VALUE,
            value,
            value_len,
            RD_KAFKA_VTYPE_KEY,
            key,
            key_len,
            RD_KAFKA_VTYPE_HEADERS,
            list,
            RD_KAFKA_VTYPE_OPAQUE,
            token as *mut c_void,
            RD_KAFKA_VTYPE_END,
        );
        if error == sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR {
            return Ok(());
        }
        sys::rd_kafka_headers_destroy(list);
        Err(error.into())
    }
}

/// librdkafka takes a null pointer for null, and any other for bytes, empty ones included.
fn raw(bytes: Option<&[u8]>) -> (*mut c_void, usize) {
    bytes.map_or((ptr::null_mut(), 0), |bytes| (bytes.as_ptr().cast_mut().cast(), bytes.len()))
}

/// The fatal error that ended a producer or consumer, if one did.
pub fn fatal_error<C: ClientContext>(client: &Client<C>) -> Option<(RDKafkaErrorCode, String)> {
    let mut text = [0 as std::ffi::c_char; 512];
    // SAFETY: a live client, and a buffer with its size; librdkafka ends the text with a NUL.
    let (error, text) = unsafe {
        let error = sys::rd_kafka_fatal_error(client.native_ptr(), text.as_mut_ptr(), text.len());
        (error, std::ffi::CStr::from_ptr(text.as_ptr()).to_string_lossy().into_owned())
    };
    (error != sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR).then(|| (error.into(), text))
}
