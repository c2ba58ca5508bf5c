#!/bin/bash
# The hardware of a Raspberry Pi, as far as the daemon uses it: the GPIO chip, an SPI bus and a sound card.
set -euo pipefail
modprobe --all gpio-sim spi-sim snd-aloop uinput
mountpoint --quiet /sys/kernel/config || mount -t configfs none /sys/kernel/config
chip=/sys/kernel/config/gpio-sim/pi/bank0
mkdir -p $chip/line{0..27}
echo 28 > $chip/num_lines
echo pinctrl-bcm2711 > $chip/label
for line in {0..27}; do
	echo GPIO"$line" > $chip/line"$line"/name
done
echo 1 > /sys/kernel/config/gpio-sim/pi/live
echo pull-up > /sys/devices/platform/gpio-sim.0/gpiochip0/sim_gpio17/pull

# Record each change of an output line and each transfer by SPI, with the time of the kernel.
mountpoint --quiet /sys/kernel/tracing || mount -t tracefs none /sys/kernel/tracing
cd /sys/kernel/tracing
echo mono > trace_clock
echo 4096 > buffer_size_kb
echo 'get == 0' > events/gpio/gpio_value/filter
echo 'in == 1' > events/gpio/gpio_direction/filter
echo 1 | tee events/gpio/gpio_{value,direction}/enable
echo 1 > events/spi/spi_transfer_start/enable
