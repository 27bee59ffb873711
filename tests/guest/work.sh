#!/bin/sh
# Work that knows whether it went right, for tests that move the machine about under it: files through a disk, floating
# point, timers, the network. Each round ends in a line "ROUND n ok"; a line with BAD says what went wrong.
ip link set eth0 up
ip addr add 10.0.2.15/24 dev eth0
float() {
    awk 'BEGIN { for (k = 1; k < 4000; k++) s += sin(k) * sqrt(k) / (k + 0.5); printf "%.12f\n", s }'
}
first=$(float)
before=$(cut -d. -f1 /proc/uptime)
n=0
while true; do
    n=$((n + 1))
    seq $((n * 7)) $((n * 7 + 20000)) >/tmp/f
    sum=$(md5sum </tmp/f)
    size=$(wc -c </tmp/f)
    dd if=/tmp/f of=/dev/vda bs=64k seek=$((n % 64 * 4)) conv=fsync 2>/dev/null
    echo 3 >/proc/sys/vm/drop_caches
    back=$(dd if=/dev/vda bs=64k skip=$((n % 64 * 4)) count=4 2>/dev/null | head -c "$size" | md5sum)
    [ "$sum" = "$back" ] || echo "BAD disk in round $n: $sum $back"
    [ "$(float)" = "$first" ] || echo "BAD float in round $n"
    sleep 0.02
    now=$(cut -d. -f1 /proc/uptime)
    [ "$now" -ge "$before" ] || echo "BAD clock in round $n: $now after $before"
    before=$now
    ping -c 1 -W 1 10.0.2.2 >/dev/null || ping -c 3 -W 2 10.0.2.2 >/dev/null || echo "BAD network in round $n"
    head -c 64 /dev/hwrng >/tmp/r 2>/dev/null
    echo "ROUND $n ok"
done
