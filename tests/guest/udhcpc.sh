#!/bin/busybox sh
# udhcpc's script: takes the address, the route and the name servers it is given.
# In the guest: `udhcpc -i eth0` after `ip link set eth0 up`.
case $1 in
bound | renew)
    ip addr flush dev "$interface"
    ip addr add "$ip/${mask:-24}" dev "$interface"
    [ -n "$router" ] && ip route replace default via "${router%% *}"
    : >/etc/resolv.conf
    for server in $dns; do echo "nameserver $server" >>/etc/resolv.conf; done
    ;;
esac
