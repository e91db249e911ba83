;; What standard Go calls of WASI 0.1, answered without any host. The time goes on by a microsecond at each look, and random
;; bytes are always the same: plugins have `clock` and `random` of the contract. What is written goes nowhere: plugins have `log`.
;; Only what Go's runtime writes when it gives up is logged.
;; Go asks for the time while it collects garbage, also inside of `cabi_realloc`, where a component may call nobody: so this must
;; not be passed on.
(module
  (import "lockgate:plugin/log@0.1.0" "log" (func $log (param $level i32) (param $at i32) (param $length i32)))
  (import "env" "memory" (memory 0))
  (global $time (mut i64) (i64.const 1700000000000000000))
  (global $chance (mut i64) (i64.const 88172645463325252))

  (func (export "clock_time_get") (param $clock i32) (param $precision i64) (param $at i32) (result i32)
    (global.set $time (i64.add (global.get $time) (i64.const 1000)))
    (i64.store (local.get $at) (global.get $time))
    (i32.const 0))

  (func (export "random_get") (param $at i32) (param $length i32) (result i32)
    (block $done
      (loop $next
        (br_if $done (i32.eqz (local.get $length)))
        (global.set $chance (i64.xor (global.get $chance) (i64.shl (global.get $chance) (i64.const 13))))
        (global.set $chance (i64.xor (global.get $chance) (i64.shr_u (global.get $chance) (i64.const 7))))
        (global.set $chance (i64.xor (global.get $chance) (i64.shl (global.get $chance) (i64.const 17))))
        (i32.store8 (local.get $at) (i32.wrap_i64 (global.get $chance)))
        (local.set $at (i32.add (local.get $at) (i32.const 1)))
        (local.set $length (i32.sub (local.get $length) (i32.const 1)))
        (br $next)))
    (i32.const 0))

  ;; Where the SDK has room for what the runtime writes when it gives up: bytes that are there, the most that can be, these bytes.
  ;; None at 0. An adapter has no memory of its own.
  (global $kept (mut i32) (i32.const 0))
  (func (export "lockgate_keep_stderr") (param $at i32)
    (global.set $kept (local.get $at)))

  ;; Whether the runtime is giving up, and whether the line that it writes begins with a tab.
  (global $dying (mut i32) (i32.const 0))
  (global $indented (mut i32) (i32.const 0))

  ;; It then begins with one of these, written by itself, which is nobody else's to write: "panic: ", "fatal error: ".
  (func $begins_the_end (param $at i32) (param $length i32) (result i32)
    (if (i32.eq (local.get $length) (i32.const 7))
      (then (return (i64.eq
        (i64.or
          (i64.load32_u (local.get $at))
          (i64.shl (i64.load32_u offset=3 (local.get $at)) (i64.const 32)))
        (i64.const 0x203a6369_696e6170)))))
    (if (i32.eq (local.get $length) (i32.const 13))
      (then (return (i32.and
        (i64.eq (i64.load (local.get $at)) (i64.const 0x7265206c61746166))
        (i64.eq (i64.load offset=5 (local.get $at)) (i64.const 0x203a726f72726520))))))
    (i32.const 0))

  ;; How much more is logged: some deaths have the stacks of all goroutines.
  (global $left (mut i32) (i32.const 20))

  ;; Logs what is kept, as an error.
  (func $flush
    (local $length i32)
    (local.set $length (i32.load (global.get $kept)))
    (i32.store (global.get $kept) (i32.const 0))
    (if (i32.and (i32.ne (local.get $length) (i32.const 0)) (i32.ne (global.get $left) (i32.const 0)))
      (then
        (global.set $left (i32.sub (global.get $left) (i32.const 1)))
        (call $log (i32.const 0) (i32.add (global.get $kept) (i32.const 8)) (local.get $length)))))

  ;; Keeps a byte. A line that begins with a tab ends a frame of a stack: it is logged with what has come before it, since nothing
  ;; tells that the last has come. Each byte that is not ASCII becomes a question mark: half a letter cannot be logged.
  (func $keep (param $byte i32)
    (local $length i32)
    (local.set $length (i32.load (global.get $kept)))
    (if (i32.eq (local.get $byte) (i32.const 10))
      (then
        (if (i32.or (global.get $indented) (i32.eqz (local.get $length)))
          (then
            (global.set $indented (i32.const 0))
            (return (call $flush))))))
    (if (i32.eq (local.get $byte) (i32.const 9))
      (then
        (if (local.get $length)
          (then
            (if (i32.eq (i32.load8_u offset=7 (i32.add (global.get $kept) (local.get $length))) (i32.const 10))
              (then (global.set $indented (i32.const 1))))))))
    (i32.store8 offset=8
      (i32.add (global.get $kept) (local.get $length))
      (select (local.get $byte) (i32.const 63) (i32.lt_u (local.get $byte) (i32.const 128))))
    (i32.store (global.get $kept) (i32.add (local.get $length) (i32.const 1)))
    (if (i32.eq (i32.load (global.get $kept)) (i32.load offset=4 (global.get $kept)))
      (then (call $flush))))

  ;; Keeps what is written to stderr, if there is room for it and the runtime is giving up.
  (func $keep_all (param $at i32) (param $length i32)
    (if (i32.eqz (global.get $kept))
      (then (return)))
    (if (i32.eqz (global.get $dying))
      (then (global.set $dying (call $begins_the_end (local.get $at) (local.get $length)))))
    (if (i32.eqz (global.get $dying))
      (then (return)))
    (block $done
      (loop $next
        (br_if $done (i32.eqz (local.get $length)))
        (call $keep (i32.load8_u (local.get $at)))
        (local.set $at (i32.add (local.get $at) (i32.const 1)))
        (local.set $length (i32.sub (local.get $length) (i32.const 1)))
        (br $next))))

  ;; All of what is to be written counts as written.
  (func (export "fd_write") (param $file i32) (param $list i32) (param $count i32) (param $written i32) (result i32)
    (local $sum i32)
    (block $done
      (loop $next
        (br_if $done (i32.eqz (local.get $count)))
        (if (i32.eq (local.get $file) (i32.const 2))
          (then (call $keep_all (i32.load (local.get $list)) (i32.load offset=4 (local.get $list)))))
        (local.set $sum (i32.add (local.get $sum) (i32.load offset=4 (local.get $list))))
        (local.set $list (i32.add (local.get $list) (i32.const 8)))
        (local.set $count (i32.sub (local.get $count) (i32.const 1)))
        (br $next)))
    (i32.store (local.get $written) (local.get $sum))
    (i32.const 0))

  ;; No arguments, no variables.
  (func (export "args_sizes_get") (param $count i32) (param $size i32) (result i32)
    (i32.store (local.get $count) (i32.const 0))
    (i32.store (local.get $size) (i32.const 0))
    (i32.const 0))
  (func (export "args_get") (param i32 i32) (result i32) (i32.const 0))
  (func (export "environ_sizes_get") (param $count i32) (param $size i32) (result i32)
    (i32.store (local.get $count) (i32.const 0))
    (i32.store (local.get $size) (i32.const 0))
    (i32.const 0))
  (func (export "environ_get") (param i32 i32) (result i32) (i32.const 0))

  ;; No files and no sockets: BADF. What is needed of these is what the plugin's code could reach.
  (func (export "fd_advise") (param i32 i64 i64 i32) (result i32) (i32.const 8))
  (func (export "fd_allocate") (param i32 i64 i64) (result i32) (i32.const 8))
  (func (export "fd_close") (param i32) (result i32) (i32.const 8))
  (func (export "fd_datasync") (param i32) (result i32) (i32.const 8))
  (func (export "fd_fdstat_get") (param i32 i32) (result i32) (i32.const 8))
  (func (export "fd_fdstat_set_flags") (param i32 i32) (result i32) (i32.const 8))
  (func (export "fd_fdstat_set_rights") (param i32 i64 i64) (result i32) (i32.const 8))
  (func (export "fd_filestat_get") (param i32 i32) (result i32) (i32.const 8))
  (func (export "fd_filestat_set_size") (param i32 i64) (result i32) (i32.const 8))
  (func (export "fd_filestat_set_times") (param i32 i64 i64 i32) (result i32) (i32.const 8))
  (func (export "fd_pread") (param i32 i32 i32 i64 i32) (result i32) (i32.const 8))
  (func (export "fd_prestat_get") (param i32 i32) (result i32) (i32.const 8))
  (func (export "fd_prestat_dir_name") (param i32 i32 i32) (result i32) (i32.const 8))
  (func (export "fd_pwrite") (param i32 i32 i32 i64 i32) (result i32) (i32.const 8))
  (func (export "fd_read") (param i32 i32 i32 i32) (result i32) (i32.const 8))
  (func (export "fd_readdir") (param i32 i32 i32 i64 i32) (result i32) (i32.const 8))
  (func (export "fd_renumber") (param i32 i32) (result i32) (i32.const 8))
  (func (export "fd_seek") (param i32 i64 i32 i32) (result i32) (i32.const 8))
  (func (export "fd_sync") (param i32) (result i32) (i32.const 8))
  (func (export "fd_tell") (param i32 i32) (result i32) (i32.const 8))
  (func (export "path_create_directory") (param i32 i32 i32) (result i32) (i32.const 8))
  (func (export "path_filestat_get") (param i32 i32 i32 i32 i32) (result i32) (i32.const 8))
  (func (export "path_filestat_set_times") (param i32 i32 i32 i32 i64 i64 i32) (result i32) (i32.const 8))
  (func (export "path_link") (param i32 i32 i32 i32 i32 i32 i32) (result i32) (i32.const 8))
  (func (export "path_open") (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32) (i32.const 8))
  (func (export "path_readlink") (param i32 i32 i32 i32 i32 i32) (result i32) (i32.const 8))
  (func (export "path_remove_directory") (param i32 i32 i32) (result i32) (i32.const 8))
  (func (export "path_rename") (param i32 i32 i32 i32 i32 i32) (result i32) (i32.const 8))
  (func (export "path_symlink") (param i32 i32 i32 i32 i32) (result i32) (i32.const 8))
  (func (export "path_unlink_file") (param i32 i32 i32) (result i32) (i32.const 8))
  (func (export "sock_accept") (param i32 i32 i32) (result i32) (i32.const 8))
  (func (export "sock_recv") (param i32 i32 i32 i32 i32 i32) (result i32) (i32.const 8))
  (func (export "sock_send") (param i32 i32 i32 i32 i32) (result i32) (i32.const 8))
  (func (export "sock_shutdown") (param i32 i32) (result i32) (i32.const 8))

  ;; Nothing to wait for, nobody to signal: NOTSUP. But for the 1 ms that the runtime waits for its threads when it gives up: there are
  ;; none, and it would give up giving up. (Whoever sleeps in the plugin has some of it behind him when this is called.)
  (func (export "poll_oneoff") (param $what i32) (param $events i32) (param $count i32) (param $happened i32) (result i32)
    (select (i32.const 0) (i32.const 58) (i64.eq (i64.load offset=24 (local.get $what)) (i64.const 1000000))))
  (func (export "proc_raise") (param i32) (result i32) (i32.const 58))
  (func (export "clock_res_get") (param i32 i32) (result i32) (i32.const 58))

  (func (export "sched_yield") (result i32) (i32.const 0))
  (func (export "proc_exit") (param i32) unreachable)
)
