//! The gauge of startup slots of the stand-in: sampled, as that of a real sshd.

use std::sync::mpsc;

use super::*;
use crate::witness::StartupsReading;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn gauge_comes_to_the_slots_that_are_held_and_back_with_the_limits_of_the_server() {
    let server = Server::start(settings("10:30:100"), 0);
    let (tell, told) = mpsc::channel();
    let watch = Witness::embedded(server.gauges.clone(), 10, 100, server.address)
        .watch(move |reading| {
            let _ = tell.send(reading);
        })
        .expect("a gauge");
    // Numbers on the way may be missed; the one that stays is not.
    let comes_to = |slots| {
        tokio::task::block_in_place(|| {
            loop {
                let reading: StartupsReading = told.recv_timeout(SOON).expect("another reading");
                assert_eq!((reading.start, reading.full), (10, 100));
                assert!(reading.slots <= 3, "{reading:?}: never more than there are");
                if reading.slots == slots {
                    break;
                }
            }
        });
    };
    comes_to(0);
    let mut held = Vec::new();
    for _ in 0..3 {
        held.push(
            Silent::connect(server.address)
                .await
                .accepted()
                .expect("a slot"),
        );
    }
    comes_to(3);
    drop(held);
    comes_to(0);
    watch.stop().await.expect("it ends");
    server.stop().await;
}
