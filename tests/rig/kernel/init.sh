#!/bin/sh
# The machine's initial RAM disk: the drivers of its first disk, which holds the system.
mount -t devtmpfs dev /dev
mount -t proc proc /proc
mount -t sysfs sys /sys
while read -r module; do insmod "/modules/$module"; done < /modules/order
tries=0
while [ ! -b /dev/vda ] && [ $tries -lt 200 ]; do
	sleep 0.05
	tries=$((tries + 1))
done
mount -t ext4 -o rw,noatime /dev/vda /new || exec sh
for directory in dev proc sys; do mount -o move "/$directory" "/new/$directory"; done
exec switch_root /new /lib/systemd/systemd
