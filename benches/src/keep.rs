//! What the bench of KEEP UDP is made of.

pub mod bulk;
pub mod fixp;
pub mod kcp;
pub mod legacy;
pub mod link;
pub mod link_fixp;
pub mod link_kcp;
pub mod link_quic;
pub mod quic;
pub mod quinn;
pub mod tcp;
