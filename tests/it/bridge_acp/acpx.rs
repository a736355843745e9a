//! `acpx`, a client of somebody else, drives a real agent through the bridge.
