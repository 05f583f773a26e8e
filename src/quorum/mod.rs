//! The metadata log on openraft; the only room that names openraft or sled.
