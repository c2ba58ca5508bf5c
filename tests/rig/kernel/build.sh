#!/bin/bash
# Runs in a root of Debian with network. Leaves in /out: vmlinuz, initrd, lib/modules/VERSION with what a test needs.
#
# The kernel is Debian's own, unchanged. Its gpio-sim is switched off in all of Debian's kernels, so the driver is built
# from the source of the same version; for an SPI bus there is none, and spi-sim.c beside this is one. Image, headers and
# source are of one version because one list names them.
set -euo pipefail
apt-get -qq update
depends() { apt-cache depends "$1" | awk -v start="$2" '/Depends:/ && index($2, start) == 1 { print $2; exit }'; }
image=$(depends linux-image-amd64 linux-image-)
source=$(depends linux-source linux-source-)
version=${image#linux-image-}
apt-get -qq --yes --no-install-recommends install busybox-static cpio kmod make xz-utils "linux-headers-$version"
mkdir -p /tmp/build/{modules,driver,initrd,debs,image} && cd /tmp/build/debs
apt-get -qq download "$image" "$source"
dpkg-deb --extract linux-image-*.deb ../image
cd ..

# gpio-sim needs irq_sim, which is switched off too and is linked into it: then its exports are not wanted, and the
# descriptor comes by a way that is exported to modules.
dpkg-deb --fsys-tarfile debs/linux-source-*.deb | tar --extract --to-stdout --wildcards './usr/src/linux-source-*.tar.xz' |
	xz --decompress --threads=0 | tar --extract --strip-components=1 --wildcards --directory driver \
	'*/drivers/gpio/gpio-sim.c' '*/drivers/gpio/gpiolib*.h' '*/kernel/irq/irq_sim.c'
cd driver
mv drivers/gpio/gpiolib*.h kernel/irq/irq_sim.c .
mv drivers/gpio/gpio-sim.c gpio-sim-core.c
sed -i -E '/^EXPORT_SYMBOL_GPL/d; s/irq_to_desc\(irqnum\)/irq_data_to_desc(irq_get_irq_data(irqnum))/' irq_sim.c
cp /rig/spi-sim.c .
printf 'obj-m += gpio-sim.o spi-sim.o\ngpio-sim-y := gpio-sim-core.o irq_sim.o\n' > Kbuild
make -s -j"$(nproc)" -C "/lib/modules/$version/build" M="$PWD" modules
install -D -m 644 -t "../image/lib/modules/$version/extra" gpio-sim.ko spi-sim.ko
cd ..
depmod --basedir "$PWD/image" "$version"

# A module, after those that it needs.
closure() {
	for module in "$@"; do
		modprobe --dirname "$PWD/image" --set-version "$version" --show-depends "$module" | awk '$1 == "insmod" { print $2 }'
	done | awk '!seen[$0]++'
}

kept=/out/lib/modules/$version
mkdir -p "$kept"
cp image/lib/modules/"$version"/modules.{order,builtin,builtin.modinfo} "$kept/"
for file in $(closure gpio-sim spi-sim snd-aloop uinput evdev configfs virtio_rng vfat nls_ascii nls_cp437 loop autofs4 ext4 \
	virtio_console snd-hrtimer); do
	install -D -m 644 "$file" "$kept/${file#"$PWD/image/lib/modules/$version/"}"
done
depmod --basedir /out "$version"
cp "image/boot/vmlinuz-$version" /out/vmlinuz

cd initrd
mkdir -p bin dev proc sys new modules
cp /bin/busybox bin/
for name in sh mount insmod switch_root sleep; do ln -s busybox "bin/$name"; done
for file in $(cd .. && closure virtio_pci virtio_blk ext4); do
	cp "$file" modules/
	basename "$file" >> modules/order
done
install -m 755 /rig/init.sh init
find . | cpio --create --format=newc --quiet | gzip -1 > /out/initrd
