#!/bin/sh
# Runs once, as init, inside the guest: debootstrap's second stage and the few settings of the test system.
export PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8 DEBIAN_FRONTEND=noninteractive
mount -o remount,rw /
mount -t proc proc /proc
mount -t sysfs sys /sys
[ -c /dev/null ] || mount -t devtmpfs dev /dev
echo SECOND-STAGE-START
/debootstrap/debootstrap --second-stage &&
    dpkg --force-depends --force-confold --skip-same-version --unpack /packages/*.deb &&
    dpkg --configure -a && echo SECOND-STAGE-OK
# debootstrap has unmounted them at its end.
mountpoint -q /proc || mount -t proc proc /proc
mountpoint -q /sys || mount -t sysfs sys /sys
passwd -d root
echo tinamou >/etc/hostname
printf '127.0.0.1 localhost\n127.0.1.1 tinamou\n' >/etc/hosts
printf '/dev/vda / ext4 defaults,noatime 0 1\n' >/etc/fstab
mkdir -p /etc/systemd/network
printf '[Match]\nName=en* eth*\n[Network]\nDHCP=yes\n' >/etc/systemd/network/80-dhcp.network
systemctl enable systemd-networkd systemd-resolved serial-getty@ttyS0
systemctl mask systemd-networkd-wait-online
: >/etc/machine-id
rm -rf /var/cache/apt/*.bin /var/cache/apt/archives/*.deb /var/lib/apt/lists/* \
    /debootstrap /packages /second-stage.sh \
    /etc/dpkg/dpkg.cfg.d/second-stage
sync
mount -o remount,ro /
echo SECOND-STAGE-END
echo o >/proc/sysrq-trigger
sleep 30
