#!/bin/busybox sh
# /init of the busybox test guest.
#   root=/dev/vda     mounts that ext4 file system and hands over to its init (init=PATH)
#   tinamou.run=CMD   runs the command of /bin between two marker lines and powers off
#   neither           an interactive shell on the console
/bin/busybox mkdir -p /sbin /usr/bin /usr/sbin /proc /sys /dev /mnt /root /tmp /run
/bin/busybox --install -s
export PATH=/bin:/sbin:/usr/bin:/usr/sbin HOME=/root
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev 2>/dev/null
mkdir -p /dev/pts /dev/shm
mount -t devpts devpts /dev/pts
while read -r module; do insmod "/lib/modules/$module.ko" 2>/dev/null; done </lib/modules/order

root='' run='' init=/sbin/init
for word in $(cat /proc/cmdline); do
    case $word in
    root=*) root=${word#root=} ;;
    init=*) init=${word#init=} ;;
    tinamou.run=*) run=${word#tinamou.run=} ;;
    esac
done

if [ -n "$root" ]; then
    tries=0
    while [ ! -b "$root" ] && [ $tries -lt 100 ]; do
        sleep 0.1
        tries=$((tries + 1))
    done
    if mount -t ext4 -o rw "$root" /mnt; then
        umount /dev/pts
        mount -o move /dev /mnt/dev
        umount /sys /proc
        exec switch_root /mnt "$init"
    fi
    echo "cannot mount $root"
fi

hostname tinamou
if [ -n "$run" ]; then
    echo TINAMOU-RUN-START
    "$run"
    echo "TINAMOU-RUN-END $?"
    poweroff -f
fi
echo TINAMOU-SHELL-READY
exec setsid cttyhack sh
