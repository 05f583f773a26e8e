//! Metric handles and log set-up; knows no other module.
