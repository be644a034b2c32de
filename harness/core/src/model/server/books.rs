//! What the simulated server counts of itself: the laws of queues are checked against it.

/// Counts and integrals over simulated time.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ServerBooks {
    /// Events handled.
    pub events: u64,
    /// Connections that got a slot.
    pub admitted: u64,
    /// Connections that the admission rule or a limit per source refused.
    pub refused: u64,
    /// Logins that were done.
    pub logins: u64,
    /// Logins that were refused.
    pub rejected: u64,
    /// Slots given back.
    pub released: u64,
    /// Connections that ran into `LoginGraceTime`.
    pub grace_timeouts: u64,
    /// Clients that gave up by their own deadline.
    pub given_up: u64,
    /// SYNs that met a full listen queue.
    pub syns_dropped: u64,
    /// Commands that ran.
    pub commands: u64,
    /// The most slots in use.
    pub slots_peak: u32,
    /// The most connections that waited to be accepted.
    pub queue_peak: u32,
    /// Slots in use, integrated over time: slot-nanoseconds.
    pub slot_ns: u128,
    /// Time in the slot, added up connection by connection as each gives it back, nanoseconds.
    pub in_slot_ns: u128,
    /// Connections waiting to be accepted, integrated over time.
    pub queue_ns: u128,
    /// Cores in use, likewise.
    pub core_ns: f64,
    /// Time, nanoseconds.
    pub time_ns: u128,
}

impl ServerBooks {
    /// So much time has passed with that many slots in use, connections waiting and cores busy.
    pub(super) fn passed(&mut self, time: u64, slots: u32, queue: usize, busy: f64) {
        self.time_ns += u128::from(time);
        self.slot_ns += u128::from(time) * u128::from(slots);
        self.queue_ns += u128::from(time) * queue as u128;
        self.core_ns += time as f64 * busy;
    }
}
