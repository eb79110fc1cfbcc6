//! A real disk of little room: a tmpfs, whose every length within a range is tried.

use std::fs;

use crate::common::mounts::with_mounts;
use crate::common::sandbox::Sandbox;
use crate::place::stream;

/// A disk that a killed run has filled is emptied by gc.
const KILLED: &str = r#"
    mkdir disk
    mount -t tmpfs -o size=4m tmpfs disk
    export DTAR_STORE=$PWD/disk/store DTAR_CATALOG=$PWD/catalog
    "$1" < 1.tar > 1.index 2> err
    mkfifo stream
    "$1" < stream > 2.index 2> err &
    exec 3> stream
    until [ -s disk/store/runs/*/lease ]; do sleep 0.02; done
    half=$(echo disk/store/runs/*)/half
    kill -9 $!
    wait $! || true
    exec 3>&-
    ! head -c 8m /dev/zero > "$half" 2> err
    "$1" gc
    test -z "$(ls -A disk/store/tmp disk/store/runs disk/store/dead 2> /dev/null | grep -v ':$')"
    "$1" restore 1.index 2> err | cmp - 1.tar
"#;

#[test]
fn a_disk_that_a_killed_run_has_filled_is_emptied_by_gc() {
    let sandbox = Sandbox::new();
    fs::write(sandbox.path().join("1.tar"), stream(&[1, 2])).unwrap();
    if let Some(run) = with_mounts(&sandbox, KILLED) {
        run.exits(0).says(&["ended a run on"]);
    }
}

/// Steps of two pages, from too little for `store.toml` up to enough for all.
const SCRIPT: &str = r#"
    mkdir disk
    export DTAR_STORE=$PWD/disk/store DTAR_CATALOG=$PWD/disk/catalog
    full=0 room=0
    # LMDB calls a write that was cut short an I/O error.
    reason="No space left on device\|use the catalog .*: Input/output error"
    for ((size = 16; size <= 320; size += STEP)); do
        mount -t tmpfs -o size=${size}k tmpfs disk
        code=0
        "$1" < 1.tar > 1.index 2> err || code=$?
        if [ $code = 0 ]; then
            room=$((room + 1))
        else
            full=$((full + 1))
            test $code = 1
            test "$(grep "^dtar: .*$PWD" err | grep -c "$reason")" = 1
            ! "$1" restore 1.index > /dev/null 2>&1
            mount -o remount,size=8m disk
            "$1" < 1.tar > 1.index 2> err
        fi
        "$1" restore 1.index 2> err | cmp - 1.tar
        "$1" restore @latest 2> err | cmp - 1.tar
        # The next one finds what is left of this room.
        mount -o remount,size=${size}k disk 2> /dev/null || true
        "$1" < 2.tar > 2.index 2> err || { test $? = 1; grep -q "$reason" err; }
        mount -o remount,size=8m disk
        "$1" restore 1.index 2> err | cmp - 1.tar
        "$1" < 2.tar > 2.index 2> err
        "$1" restore 2.index 2> err | cmp - 2.tar
        "$1" gc 2> err
        test -z "$(ls -A disk/store/tmp disk/store/runs disk/store/dead 2> /dev/null | grep -v ':$')"
        umount disk
    done
    echo $full $room
"#;

#[test]
fn a_small_disk_is_told_of_and_does_no_harm() {
    let sandbox = Sandbox::new();
    fs::write(sandbox.path().join("1.tar"), stream(&[1, 2])).unwrap();
    fs::write(sandbox.path().join("2.tar"), stream(&[2, 3])).unwrap();
    let step = if crate::is_long() { "4" } else { "16" };
    let Some(run) = with_mounts(&sandbox, &SCRIPT.replace("STEP", step)) else {
        return;
    };
    let run = run.exits(0);
    let counts = String::from_utf8(run.stdout).unwrap();
    let (full, room) = counts.trim().split_once(' ').unwrap();
    assert!(full != "0" && room != "0", "{counts}");
    println!("small disks: {full} too small, each told of; {room} large enough; bytes lost 0");
}
