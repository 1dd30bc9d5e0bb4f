#!/bin/bash
# lifeline.sh COMMAND...: runs COMMAND in a process group of its own and ends that group when standard input ends.
# The tests hold the other end of standard input, so a provider never outlives them, however they end.
set -um

"$@" </dev/null &
child=$!
(
  cat >/dev/null
  kill -TERM -- "-$child" 2>/dev/null
  sleep 20
  kill -KILL -- "-$child" 2>/dev/null
) <&0 &
watcher=$!
disown "$watcher"

wait "$child"
status=$?
kill -KILL -- "-$watcher" 2>/dev/null
exit "$status"
