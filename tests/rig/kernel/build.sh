#!/bin/bash
# Runs in a root of Debian with network. Leaves in /out: vmlinuz, initrd, lib/modules/VERSION with what a test needs.
#
# The kernel is Debian's own, unchanged, from the backports of the release: it is the first one with gpio-sim. For an SPI
# bus there is no such driver, and spi-sim.c beside this is one.
set -euo pipefail
. /etc/os-release
sed -n "s/ $VERSION_CODENAME / $VERSION_CODENAME-backports /p" /etc/apt/sources.list > /etc/apt/sources.list.d/backports.list
apt-get -qq update
version=$(apt-cache depends "linux-image-amd64/$VERSION_CODENAME-backports" |
	sed -n 's/ *Depends: linux-image-\([0-9].*\)/\1/p')
apt-get -qq --yes --no-install-recommends install binutils busybox-static cpio kmod make xz-utils "linux-headers-$version"
mkdir -p /tmp/build/{modules,driver,initrd,debs,image} && cd /tmp/build/debs
# linux-image-VERSION is empty: these have lists of its modules, the kernel, and the modules.
apt-get -qq download "linux-base-$version" "linux-binary-$version" "linux-modules-$version"
for package in *.deb; do dpkg-deb --extract "$package" ../image; done
cd ..

all=$PWD/image/usr/lib/modules/$version
cp /rig/spi-sim.c driver
echo 'obj-m += spi-sim.o' > driver/Kbuild
make -s -j"$(nproc)" -C "/lib/modules/$version/build" M="$PWD/driver" modules
install -D -m 644 -t "$all/extra" driver/spi-sim.ko
depmod --basedir "$PWD/image/usr" "$version"

# A module, after those that it needs.
closure() {
	for module in "$@"; do
		modprobe --dirname "$PWD/image/usr" --set-version "$version" --show-depends "$module" | awk '$1 == "insmod" { print $2 }'
	done | awk '!seen[$0]++'
}

# dummy_hcd is a USB cable from this computer to itself: as a gadget it is a keyboard of its own.
# Not compressed: the insmod of the initial RAM disk would not know what to do.
kept=/out/lib/modules/$version
mkdir -p "$kept"
cp "$all"/modules.{order,builtin,builtin.modinfo} "$kept/"
for file in $(closure gpio-sim spi-sim snd-aloop uinput evdev configfs virtio_rng vfat nls_ascii nls_cp437 loop autofs4 ext4 \
	virtio_console snd-hrtimer dummy_hcd libcomposite usb_f_hid usbhid hid-generic); do
	install -D -m 644 "$file" "$kept/${file#"$all/"}"
done
find "$kept" -name '*.ko.xz' -exec xz --decompress {} +
depmod --basedir /out "$version"
cp "$all/vmlinuz" /out/vmlinuz

cd initrd
mkdir -p bin dev proc sys new modules
cp /bin/busybox bin/
for name in sh mount insmod switch_root sleep; do ln -s busybox "bin/$name"; done
for file in $(cd .. && closure virtio_pci virtio_blk ext4); do
	cp "$file" modules/
	basename "$file" .xz >> modules/order
done
find modules -name '*.ko.xz' -exec xz --decompress {} +
install -m 755 /rig/init.sh init
find . | cpio --create --format=newc --quiet | gzip -1 > /out/initrd
