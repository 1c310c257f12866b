//! Partition lists, with what the `rdkafka` crate hides or panics on.
#![allow(unsafe_code)] // librdkafka's C interface; each block says why it is sound.

use std::ffi::CString;
use std::slice;

use rdkafka::TopicPartitionList;
use rdkafka::bindings as sys;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::types::RDKafkaErrorCode;

/// One entry of a partition list.
#[derive(Clone, Copy, Debug)]
pub struct Entry<'a> {
    /// The topic.
    pub topic: &'a str,
    /// The partition.
    pub partition: i32,
    /// The offset as it stands: negative values are librdkafka's logical offsets.
    pub offset: i64,
    /// The commit's metadata, any bytes.
    pub metadata: &'a [u8],
    /// The partition's own result.
    pub error: Option<RDKafkaErrorCode>,
}

/// The entries of a list. Topics that are not UTF-8 (Kafka does not allow them) are left out.
pub fn entries(list: &TopicPartitionList) -> impl Iterator<Item = Entry<'_>> {
    // SAFETY: the list owns `cnt` elements and every pointer in them for its lifetime.
    let elements = unsafe {
        let list = &*list.ptr();
        if list.cnt == 0 { &[] } else { slice::from_raw_parts(list.elems, list.cnt as usize) }
    };
    elements.iter().filter_map(|element| {
        // SAFETY: as above; a topic ends with a NUL, metadata has its size beside it.
        let (topic, metadata) = unsafe {
            let topic = std::ffi::CStr::from_ptr(element.topic).to_str().ok()?;
            let metadata = if element.metadata.is_null() {
                &[]
            } else {
                slice::from_raw_parts(element.metadata.cast::<u8>(), element.metadata_size)
            };
            (topic, metadata)
        };
        let error = (element.err != sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR).then(|| element.err.into());
        Some(Entry { topic, partition: element.partition, offset: element.offset, metadata, error })
    })
}

/// The end of a partition as the last fetch answered it, without asking the
/// broker. `None` where no fetch has answered yet.
pub fn cached_end<C: ConsumerContext>(consumer: &BaseConsumer<C>, topic: &str, partition: i32) -> Option<i64> {
    let topic = CString::new(topic).ok()?;
    let (mut low, mut high) = (-1, -1);
    // SAFETY: a live client, a name that ends with a NUL, and two places to write to.
    let error = unsafe {
        sys::rd_kafka_get_watermark_offsets(
            consumer.client().native_ptr(),
            topic.as_ptr(),
            partition,
            &mut low,
            &mut high,
        )
    };
    (error == sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR && high >= 0).then_some(high)
}
