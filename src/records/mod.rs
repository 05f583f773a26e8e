//! Record batches v2: reads, builds and checks them, without copying payloads.
