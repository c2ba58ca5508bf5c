// SPDX-License-Identifier: GPL-2.0
/*
 * An SPI bus with nothing on it, as a Raspberry Pi has it: /dev/spidev0.0 and 0.1, by the kernel's own spidev.
 *
 * What is sent goes nowhere and what is received is zero. Who wants to see it enables the kernel's trace event
 * spi:spi_transfer_start, which has the bytes of each transfer.
 */
#include <linux/err.h>
#include <linux/module.h>
#include <linux/platform_device.h>
#include <linux/spi/spi.h>

#define CHIPS 2

static struct platform_device *parent;
static struct spi_controller *bus;

static int transfer_one(struct spi_controller *controller, struct spi_device *chip, struct spi_transfer *transfer)
{
	if (transfer->rx_buf)
		memset(transfer->rx_buf, 0, transfer->len);
	return 0; /* it is done, and nobody is to wait for it */
}

static int __init start(void)
{
	/* Of the names that spidev goes by: it does not go by its own, which says nothing of what is on the bus. */
	struct spi_board_info chip = { .modalias = "dh2228fv", .max_speed_hz = 125000000 };
	int error;

	parent = platform_device_register_simple("spi-sim", PLATFORM_DEVID_NONE, NULL, 0);
	if (IS_ERR(parent))
		return PTR_ERR(parent);
	error = -ENOMEM;
	bus = spi_alloc_host(&parent->dev, 0);
	if (!bus)
		goto no_bus;
	bus->bus_num = 0;
	bus->num_chipselect = CHIPS;
	bus->mode_bits = SPI_CPOL | SPI_CPHA;
	bus->transfer_one = transfer_one;
	error = spi_register_controller(bus);
	if (error)
		goto not_registered;
	for (chip.chip_select = 0; chip.chip_select < CHIPS; chip.chip_select++) {
		if (!spi_new_device(bus, &chip)) {
			error = -ENODEV;
			goto no_chip;
		}
	}
	return 0;

no_chip:
	spi_unregister_controller(bus); /* and the chips that it has; it is freed then */
	goto no_bus;
not_registered:
	spi_controller_put(bus);
no_bus:
	platform_device_unregister(parent);
	return error;
}

static void __exit stop(void)
{
	spi_unregister_controller(bus);
	platform_device_unregister(parent);
}

module_init(start);
module_exit(stop);
MODULE_DESCRIPTION("An SPI bus with nothing on it");
MODULE_LICENSE("GPL");
